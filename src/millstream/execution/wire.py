"""Messages between a parent and its workers: rows of pieces, perhaps with a descriptor.

Both ends are processes of ours, over a socket that nobody else holds. A message is the number of
its pieces, their lengths, then the bytes of each.
"""

from __future__ import annotations

import array
import pickle
import socket
import struct
from collections.abc import Sequence
from typing import Any

# What comes before a task: its tag, and the number of the slot for its result.
ASK = struct.Struct("<qq")
NO_SLOT = -1  # the result travels in the message

_COUNT = struct.Struct("<Q")
# Pieces up to so many bytes together are joined, or split, rather than sent or read one by one.
SMALL = 65_536
Buffer = bytes | bytearray | memoryview


def dump(value: Any) -> list[Buffer]:
    """A value as pieces: a pickle, and the arrays in it, whose memory they share."""
    buffers: list[pickle.PickleBuffer] = []
    content = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    return [content, *[buffer.raw() for buffer in buffers]]


def load(pieces: Sequence[Buffer]) -> Any:
    """The inverse of `dump`; arrays share the memory of the pieces."""
    return pickle.loads(pieces[0], buffers=pieces[1:])


def send(sock: socket.socket, pieces: Sequence[Buffer], descriptor: int | None = None) -> None:
    """Sends a message; blocks until the last byte is taken."""
    head = struct.pack(f"<{1 + len(pieces)}Q", len(pieces), *map(len, pieces))
    if sum(map(len, pieces)) <= SMALL:
        head, pieces = b"".join([head, *pieces]), []
    if descriptor is not None:
        # The descriptor travels with the first byte, whoever takes that gets it.
        socket.send_fds(sock, [head[:1]], [descriptor])
        head = head[1:]
    sock.sendall(head)
    for piece in pieces:
        sock.sendall(piece)


def receive(sock: socket.socket, descriptors: list[int] | None = None) -> list[Buffer] | None:
    """The next message; None at the end of the stream, also in the middle of a message.

    descriptors: takes up what came with it, which is the caller's to close.
    """
    head = bytearray(_COUNT.size)
    if not _fill(sock, memoryview(head), descriptors):
        return None
    (count,) = _COUNT.unpack(head)
    table = bytearray(8 * count)
    if not _fill(sock, memoryview(table)):
        return None
    lengths = struct.unpack(f"<{count}Q", table)
    if sum(lengths) > SMALL:
        pieces = [memoryview(bytearray(length)) for length in lengths]
        return [*pieces] if all(_fill(sock, piece) for piece in pieces) else None
    content, at, joined = memoryview(bytearray(sum(lengths))), 0, list[Buffer]()
    if not _fill(sock, content):
        return None
    for length in lengths:
        joined.append(content[at : at + length])
        at += length
    return joined


def _fill(sock: socket.socket, view: memoryview, descriptors: list[int] | None = None) -> bool:
    """Reads until the memory is full; False if the stream ends before."""
    at = 0
    while at < len(view):
        try:
            if descriptors is None:
                count = sock.recv_into(view[at:])
            else:
                count, control, _, _ = sock.recvmsg_into([view[at:]], socket.CMSG_SPACE(4))
                for _, _, data in control:
                    descriptors.extend(array.array("i", data))
        except ConnectionError:
            return False
        if not count:
            return False
        at += count
    return True
