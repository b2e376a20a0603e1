"""HTTP/1.1 on asyncio's streams: heads as they come, bodies as their content, however framed."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

PIECE = 1 << 16
BUFFER = 1 << 18  # of a stream: two of them may wait to be read
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER: on, for 0 seconds
WITHOUT_BODY = {204, 304}


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The first line of a message and its headers, in their order and spelling."""

    first: str
    headers: Sequence[tuple[str, str]] = ()

    def get(self, name: str) -> str | None:
        """A header's value; its name in lower case."""
        return next((value for key, value in self.headers if key.lower() == name), None)

    def without(self, name: str) -> Self:
        return replace(self, headers=[pair for pair in self.headers if pair[0].lower() != name])

    def encode(self) -> bytes:
        lines = [self.first, *(f"{name}: {value}" for name, value in self.headers)]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    @property
    def method(self) -> str:
        return self.first.split(" ")[0]

    @property
    def target(self) -> str:
        return self.first.split(" ")[1]

    @property
    def status(self) -> int:
        return int(self.first.split(" ")[1])

    @property
    def length(self) -> int | None:
        """Content-Length; None without one, or when the body comes in chunks."""
        told = None if self.chunked else self.get("content-length")
        return None if told is None else int(told)

    @property
    def chunked(self) -> bool:
        return (self.get("transfer-encoding") or "").lower().endswith("chunked")

    @property
    def closes(self) -> bool:
        return (self.get("connection") or "").lower() == "close"


async def read_head(reader: asyncio.StreamReader) -> Head | None:
    """The next message's head; None if the other side has ended between messages."""
    try:
        told = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return None
    first, *lines = told.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return Head(first=first, headers=[(name, value.strip()) for name, _, value in pairs])


async def request_body(reader: asyncio.StreamReader, head: Head) -> AsyncIterator[bytes]:
    """The content of a request's body, piece by piece."""
    if head.chunked:
        async for piece in _chunks(reader):
            yield piece
    else:
        async for piece in _exactly(reader, head.length or 0):
            yield piece


async def answer_body(
    reader: asyncio.StreamReader, head: Head, method: str
) -> AsyncIterator[bytes]:
    """The content of the answer to a method; without a length it goes on to the end."""
    if method == "HEAD" or head.status in WITHOUT_BODY:
        return
    if head.chunked:
        async for piece in _chunks(reader):
            yield piece
    elif head.length is not None:
        async for piece in _exactly(reader, head.length):
            yield piece
    else:
        while piece := await reader.read(PIECE):
            yield piece


def framed(piece: bytes, head: Head) -> bytes:
    """A piece of content as that head's message carries it."""
    return b"%x\r\n%b\r\n" % (len(piece), piece) if head.chunked else piece


def end(head: Head) -> bytes:
    """What follows the last piece; trailers are left out."""
    return b"0\r\n\r\n" if head.chunked else b""


def reset(writer: asyncio.StreamWriter) -> None:
    """Ends a connection so that the other side sees a reset, not an end."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    writer.transport.abort()


async def _exactly(reader: asyncio.StreamReader, size: int) -> AsyncIterator[bytes]:
    while size:
        piece = await reader.read(min(PIECE, size))
        if not piece:
            raise ConnectionResetError("the body ended early")
        size -= len(piece)
        yield piece


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while size := int((await reader.readline()).partition(b";")[0], 16):
        async for piece in _exactly(reader, size):
            yield piece
        await reader.readexactly(2)
    while await reader.readline() not in (b"\r\n", b""):
        pass  # a trailer
