"""One request through the fault proxy, and its answer, hurt as a fault says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NoReturn

from servers import wire
from servers.faults import (
    Fault,
    Flip,
    IgnoreRange,
    LoseAnswer,
    Reset,
    Slow,
    Stall,
    Status,
    Truncate,
)
from servers.tally import Request

IDLE_SECONDS = 2  # a connection to the server behind is not used again after that


class Cut(Exception):
    """The connection to the client has been ended on purpose."""


class Upstream:
    """The connection to the server behind that one client's connection uses, opened as needed."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._used = 0.0
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def streams(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        idle = asyncio.get_running_loop().time() - self._used
        if self._streams and (self._streams[0].at_eof() or idle > IDLE_SECONDS):
            self.close()
        if not self._streams:
            self._streams = await asyncio.open_connection(*self._address, limit=wire.BUFFER)
        return self._streams

    def done(self) -> None:
        """An exchange has ended well."""
        self._used = asyncio.get_running_loop().time()

    def close(self) -> None:
        if self._streams:
            self._streams[1].close()
            self._streams = None


class Exchange:
    """One request, and its answer."""

    def __init__(
        self,
        head: wire.Head,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        request: Request,
        pause: Callable[[float | None], Awaitable[None]],
    ) -> None:
        self._head, self._request, self._pause = head, request, pause
        self._reader, self._writer = reader, writer

    async def run(self, upstream: Upstream, fault: Fault | None) -> bool:
        """Whether the client's connection can be used again."""
        if await self._instead(fault):
            return not self._head.get("expect")
        reader, writer = await upstream.streams()
        sending = asyncio.create_task(self._send(writer, fault))
        try:
            answer = await self._answer(reader)
            if isinstance(fault, LoseAnswer):
                await sending
                self._cut(fault, wire.reset)
            await self._relay(reader, answer, fault)
            # Else it was answered before it was asked in full.
            complete = sending.done() and not sending.exception()
        finally:
            sending.cancel()
            await asyncio.wait([sending])
            if not sending.cancelled():
                sending.exception()  # is the other side's too, and has been seen there
        upstream.done()
        ended = answer.length is None and not answer.chunked and answer.status not in (204, 304)
        ended = ended and self._head.method != "HEAD"
        return complete and not ended and not answer.closes and not self._head.closes

    async def _instead(self, fault: Fault | None) -> bool:
        """What is done before the server behind hears of the request; True: in its place."""
        match fault:
            case Status():
                self._request.fault = "Status"
                if not self._head.get("expect"):  # else the body waits for our word
                    async for _ in wire.request_body(self._reader, self._head):
                        pass
                await self._refuse(fault)
                return True
            case Reset(after=None):
                self._cut(fault, wire.reset)
            case Stall(after=None):
                self._request.fault = "Stall"
                await self._pause(fault.seconds)
            case IgnoreRange():
                self._request.fault = "IgnoreRange"
        return False

    async def _refuse(self, fault: Status) -> None:
        body = fault.body.encode()
        headers = {**fault.headers, "Content-Length": str(len(body))}
        if self._head.get("expect"):
            headers["Connection"] = "close"
        told = wire.Head(first=f"HTTP/1.1 {fault.code} Injected", headers=[*headers.items()])
        self._request.status = fault.code
        self._write(told.encode() + (b"" if self._head.method == "HEAD" else body))
        await self._writer.drain()

    async def _send(self, writer: asyncio.StreamWriter, fault: Fault | None) -> None:
        head = self._head.without("range") if isinstance(fault, IgnoreRange) else self._head
        writer.write(head.encode())
        async for piece in wire.request_body(self._reader, head):
            writer.write(wire.framed(piece, head))
            await writer.drain()
        writer.write(wire.end(head))

    async def _answer(self, reader: asyncio.StreamReader) -> wire.Head:
        while True:
            head = await wire.read_head(reader)
            if head is None:
                raise ConnectionResetError("the server behind gave no answer")
            if head.status >= 200:
                return head
            self._write(head.encode())  # 100 Continue

    async def _relay(
        self, reader: asyncio.StreamReader, answer: wire.Head, fault: Fault | None
    ) -> None:
        if not 200 <= answer.status < 300:
            fault = None
        if isinstance(fault, Slow):
            self._request.fault = "Slow"
            await self._pause(fault.delay)
        self._request.status = answer.status
        self._write(answer.encode())
        done = 0
        async for piece in wire.answer_body(reader, answer, self._head.method):
            await self._pass(await self._hurt(piece, done, answer, fault), answer)
            done += len(piece)
        self._write(wire.end(answer) if self._head.method != "HEAD" else b"")
        await self._writer.drain()

    async def _hurt(self, piece: bytes, done: int, answer: wire.Head, fault: Fault | None) -> bytes:
        """What is left to pass on of a piece of the body, so many bytes after its start."""
        match fault:
            case Flip():
                place = (fault.at % answer.length if answer.length else fault.at) - done
                if 0 <= place < len(piece):
                    self._request.fault = "Flip"
                    return piece[:place] + bytes([piece[place] ^ 0xFF]) + piece[place + 1 :]
            case Reset() | Truncate() | Stall():
                if fault.after is not None and 0 <= fault.after - done < len(piece):
                    await self._pass(piece[: fault.after - done], answer)
                    await self._stop(fault)
                    return piece[fault.after - done :]
            case Slow():
                if fault.rate is not None:
                    await self._pause(len(piece) / fault.rate)
        return piece

    async def _stop(self, fault: Reset | Truncate | Stall) -> None:
        match fault:
            case Reset():
                self._cut(fault, wire.reset)
            case Truncate():
                self._cut(fault, _close)
            case Stall():
                self._request.fault = "Stall"
                await self._pause(fault.seconds)

    async def _pass(self, piece: bytes, answer: wire.Head) -> None:
        if piece:
            self._request.bytes_out += len(piece)  # before the client can ask for the tally
            self._write(wire.framed(piece, answer))
            await self._writer.drain()

    def _write(self, data: bytes) -> None:
        if self._writer.is_closing():
            raise ConnectionResetError("the client is gone")
        self._writer.write(data)

    def _cut(self, fault: Fault, how: Callable[[asyncio.StreamWriter], None]) -> NoReturn:
        self._request.fault = type(fault).__name__
        how(self._writer)
        raise Cut


def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
