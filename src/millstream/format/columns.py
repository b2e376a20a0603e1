"""The values of one field while they are collected, until they are a part's.

A column takes one value by `push`, or many by `prepare` and then `extend`. Values come described
by the field's codec already. `push` may still raise, which leaves the column one value ahead of
those that were not reached, or not: `undo` brings it back.
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from xxhash import xxh3_64_intdigest

from millstream.format.codecs import ArrayCodec, BlobCodec, Number, Shape, Source
from millstream.format.part import Arrays, Blobs, Files

# About what the objects around a value take, beside its bytes.
OBJECT_BYTES = 100

Payload = bytes | Source


class Departs(Exception):
    """Internal: values are not all like the example of their field."""


class Held:
    """About how much memory the values of some columns take, beside that of numbers."""

    __slots__ = ("nbytes",)

    def __init__(self) -> None:
        self.nbytes = 0


class Column(ABC):
    """push: takes one value."""

    push: Callable[[Any], object]

    @abstractmethod
    def prepare(self, values: Any) -> Any:
        """What `extend` takes of many values; changes nothing here. Raises Departs."""

    @abstractmethod
    def extend(self, prepared: Any) -> None:
        """Takes what was prepared."""

    @abstractmethod
    def undo(self, rows: int) -> None:
        """Drops the last value if there are more than so many."""


class Numbers(Column):
    """bool, int or float, held as they are stored."""

    def __init__(self, codec: Number) -> None:
        self._codec = codec
        self._values = array(codec.typecode)
        self.push = self._values.append

    def prepare(self, values: Any) -> Any:
        # In an array an item is no Python number.
        if type(values) is not list:
            raise Departs
        return array(self._codec.typecode, values)

    def extend(self, prepared: Any) -> None:
        self._values.extend(prepared)

    def undo(self, rows: int) -> None:
        del self._values[rows:]

    def take(self) -> Arrays:
        """All values, which are gone from here then."""
        rows, dtype = len(self._values), self._codec.storage("")
        column = np.array(self._values, dtype)
        del self._values[:]
        return Arrays(rows=rows, dtype=dtype.str, shapes=((),), data=column.view(np.uint8))


class Elements(Column):
    """Arrays, and scalars of numpy: their elements end to end."""

    def __init__(self, codec: ArrayCodec, dtype: str, held: Held) -> None:
        self._codec, self._dtype, self._held = codec, dtype, held
        self._shapes: list[Shape] = []
        self._pieces: list[bytes] = []
        self.push = self._pusher()

    def _pusher(self) -> Callable[[Any], object]:
        """Runs for each sample: what it needs is at hand."""
        encode, dtype, held = self._codec.encode, self._dtype, self._held
        add_shape, add_piece = self._shapes.append, self._pieces.append

        def push(value: Any) -> None:
            shape, piece = encode(value, dtype)
            add_piece(piece)
            add_shape(shape)
            held.nbytes += len(piece) + OBJECT_BYTES

        return push

    def prepare(self, values: Any) -> Any:
        if type(values) is list:
            shapes, pieces = zip(*[self._codec.encode(v, self._dtype) for v in values], strict=True)
            return shapes, pieces, OBJECT_BYTES * len(pieces)
        block = self._codec.block(values, self._dtype)
        if block is None:
            raise Departs
        return [block.shape[1:]] * len(block), [block.tobytes()], 8 * len(block)

    def extend(self, prepared: Any) -> None:
        shapes, pieces, beside = prepared
        self._shapes += shapes
        self._pieces += pieces
        self._held.nbytes += sum(map(len, pieces)) + beside

    def undo(self, rows: int) -> None:
        if len(self._shapes) > rows:
            self._shapes.pop()
            self._held.nbytes -= len(self._pieces.pop()) + OBJECT_BYTES

    def take(self) -> Arrays:
        """All values, which are gone from here then."""
        pieces = self._pieces
        data = np.frombuffer(pieces[0] if len(pieces) == 1 else b"".join(pieces), np.uint8)
        dtype = self._codec.storage(self._dtype).str
        taken = Arrays.of(len(self._shapes), dtype, self._shapes, data)
        self._shapes.clear()
        self._pieces.clear()
        return taken


class Payloads(Column):
    """What is bytes of any length: those of each value, or the file that holds them.

    may_refer: whether the bytes of a file may be left where they are for now.
    """

    def __init__(self, codec: BlobCodec, held: Held, may_refer: Callable[[Source], bool]) -> None:
        self._codec, self._held, self._may_refer = codec, held, may_refer
        # Few kinds can be files: the others are not asked each time.
        self._can_refer = type(codec).source is not BlobCodec.source
        self._payloads: list[Payload] = []
        self.push = self._push

    def _push(self, value: Any) -> None:
        payload = self._payload(value)
        self._payloads.append(payload)
        self._held.nbytes += _memory(payload)

    def _payload(self, value: Any) -> Payload:
        if self._can_refer:
            source = self._codec.source(value)
            if source is not None and self._may_refer(source):
                return source
        return self._codec.encode(value)

    def prepare(self, values: Any) -> Any:
        if type(values) is not list:
            raise Departs
        return [self._payload(value) for value in values]

    def extend(self, prepared: Any) -> None:
        self._payloads += prepared
        self._held.nbytes += sum(map(_memory, prepared))

    def undo(self, rows: int) -> None:
        if len(self._payloads) > rows:
            self._held.nbytes -= _memory(self._payloads.pop())

    def take(self) -> list[Payload]:
        """All payloads, which are gone from here then."""
        payloads, self._payloads = self._payloads, []
        return payloads


def _memory(payload: Payload) -> int:
    return OBJECT_BYTES + (len(payload) if type(payload) is bytes else 4 * OBJECT_BYTES)


def join_rows(columns: Sequence[list[Payload]]) -> Blobs:
    """One blob a row: the lengths of all its payloads but the last (u64 each), the payloads."""
    if len(columns) == 1:
        rows: Iterable[Sequence[Payload]] = zip(columns[0], strict=True)
    else:
        lengths = struct.Struct(f"<{len(columns) - 1}Q")
        rows = [(lengths.pack(*map(len, row[:-1])), *row) for row in zip(*columns, strict=True)]
    return _blobs(rows) if _hold_files(columns) else _plain_blobs(rows)


def _hold_files(columns: Sequence[list[Payload]]) -> bool:
    return any(Source in set(map(type, column)) for column in columns)


def _plain_blobs(rows: Iterable[Sequence[Any]]) -> Blobs:
    blobs = [row[0] if len(row) == 1 else b"".join(row) for row in rows]
    return Blobs(
        sizes=np.fromiter(map(len, blobs), np.int64, len(blobs)),
        sums=np.fromiter(map(xxh3_64_intdigest, blobs), np.uint64, len(blobs)),
        data=np.frombuffer(b"".join(blobs), np.uint8),
    )


def _blobs(rows: Iterable[Sequence[Payload]]) -> Blobs:
    """The same where some payloads are files; the checksums are left for who reads these."""
    sizes: list[int] = []
    pieces: list[bytes] = []
    files: list[tuple[int, int, Source]] = []
    for number, row in enumerate(rows):
        size = 0
        for payload in row:
            if isinstance(payload, Source):
                files.append((number, size, payload))
            else:
                pieces.append(payload)
            size += len(payload)
        sizes.append(size)
    return Blobs(
        sizes=np.array(sizes, np.int64),
        sums=np.zeros(len(sizes), np.uint64),
        data=np.frombuffer(b"".join(pieces), np.uint8),
        files=Files.of(files),
    )
