"""Messages between a parent and its workers: pickles, with large buffers beside them.

Both ends are processes of ours, over a socket that nobody else holds. A message is a row of
pieces: their number, their lengths, then the bytes of each. The first is a pickle; arrays in it
are pieces of their own (pickle protocol 5), so they are copied neither into it nor out of it.
"""

from __future__ import annotations

import pickle
import socket
import struct
from collections.abc import Sequence
from typing import Any

_COUNT = struct.Struct("<Q")
Buffer = bytes | bytearray | memoryview

# Up to here one call costs less than the copy, and the other side wakes up once.
JOINED = 1 << 16


def dump(value: Any) -> list[Buffer]:
    """A value as pieces; shares the memory of the arrays in it."""
    buffers: list[pickle.PickleBuffer] = []
    content = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    return [content, *[buffer.raw() for buffer in buffers]]


def load(pieces: Sequence[Buffer]) -> Any:
    """The inverse of `dump`; arrays share the memory of the pieces."""
    return pickle.loads(pieces[0], buffers=pieces[1:])


def send(sock: socket.socket, pieces: Sequence[Buffer]) -> None:
    """Sends a message; blocks until the last byte is taken."""
    head = struct.pack(f"<{1 + len(pieces)}Q", len(pieces), *map(len, pieces))
    if sum(map(len, pieces)) <= JOINED:
        sock.sendall(b"".join([head, *pieces]))
        return
    sock.sendall(head)
    for piece in pieces:
        sock.sendall(piece)


def receive(sock: socket.socket) -> list[bytearray] | None:
    """The next message; None at the end of the stream, also in the middle of a message."""
    head = _receive(sock, _COUNT.size)
    if head is None:
        return None
    (count,) = _COUNT.unpack(head)
    lengths = _receive(sock, 8 * count)
    if lengths is None:
        return None
    pieces = []
    for length in struct.unpack(f"<{count}Q", lengths):
        piece = _receive(sock, length)
        if piece is None:
            return None
        pieces.append(piece)
    return pieces


def _receive(sock: socket.socket, length: int) -> bytearray | None:
    content = bytearray(length)
    view, at = memoryview(content), 0
    while at < length:
        try:
            count = sock.recv_into(view[at:])
        except ConnectionError:
            return None
        if not count:
            return None
        at += count
    return content
