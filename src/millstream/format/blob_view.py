"""Reading what lies row by row, each blob checked before it is given out."""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import NoReturn

import numpy as np
import numpy.typing as npt
from xxhash import xxh3_64_intdigest

from millstream.errors import CannotDecrypt, CorruptData, UnsupportedError
from millstream.format.filters import Chain, Unit
from millstream.format.header import np_u64
from millstream.format.layout import BlobGroup, TokenColumn
from millstream.format.plain import Pages
from millstream.format.spans import Spans, spans
from millstream.format.token_view import TokenView

Rows = npt.NDArray[np.int64]
# Rows first to last that are not as they were written.
Problem = tuple[int, int, CorruptData]


class Blobs(ABC):
    """The blobs of a group, and the payloads in them. fields: of the group."""

    def __init__(self, group: BlobGroup, name: str) -> None:
        self._name, self.fields = name, group.fields
        self._lengths = struct.Struct(f"<{len(group.fields) - 1}Q")

    @abstractmethod
    def blob(self, row: int) -> memoryview:
        """The blob of a row, against its checksum."""

    @abstractmethod
    def blobs(self, rows: Rows) -> list[memoryview]:
        """The blobs of rows, each against its checksum."""

    @abstractmethod
    def spans(self, rows: Rows) -> Spans:
        """The bytes of the body that reading these rows needs, beyond its tables."""

    @abstractmethod
    def problems(self) -> Iterator[Problem]:
        """All rows that are not as they were written."""

    def payloads(self, rows: Rows) -> list[Sequence[memoryview]]:
        """The payloads of rows, a list for each field of the group."""
        blobs = self.blobs(rows)
        if not self._lengths.size:
            return [blobs]
        split = [self.split(blob, row) for blob, row in zip(blobs, rows.tolist(), strict=True)]
        return list(zip(*split, strict=True)) if split else [()] * len(self.fields)

    def split(self, blob: memoryview, row: int) -> Sequence[memoryview]:
        """The payloads of a row's blob, one for each field of the group."""
        if not self._lengths.size:
            return [blob]
        with named(self._name, row):
            return _split(blob, self._lengths)


def _split(blob: memoryview, lengths: struct.Struct) -> Sequence[memoryview]:
    if len(blob) < lengths.size:
        raise CorruptData(f"a blob of {len(blob)} bytes starts with {lengths.size} of lengths")
    at, payloads = lengths.size, []
    for length in lengths.unpack_from(blob):
        payloads.append(blob[at : at + length])
        at += length
    if at > len(blob):
        raise CorruptData(f"payloads of {at} bytes in a blob of {len(blob)}")
    return [*payloads, blob[at:]]


class RowBlobs(Blobs):
    """The blobs of a group. chain: its filters; index: its place in the header."""

    def __init__(
        self,
        body: memoryview,
        group: BlobGroup,
        *,
        name: str,
        verify: bool,
        chain: Chain,
        index: int,
        opened: Callable[[int], None],
    ) -> None:
        super().__init__(group, name)
        does_nothing = chain.is_shut or not chain.filters
        self._verify, self._chain = verify, None if does_nothing else chain
        self._index, self._opened, self._base = index, opened, group.data.offset
        self._data = body[group.data.offset : group.data.stop]
        self._offsets = np_u64(body, group.offsets)
        self._sums = np_u64(body, group.sums)

    def spans(self, rows: Rows) -> Spans:
        """The bytes of the body that reading these rows needs, beyond its tables."""
        starts, stops = self._offsets[rows], self._offsets[rows + 1]
        for row in rows[(starts > stops) | (stops > len(self._data))].tolist():
            self._bounds(row)
        return self._base + spans(starts, stops)

    def _bounds(self, row: int) -> tuple[int, int]:
        start, stop = int(self._offsets[row]), int(self._offsets[row + 1])
        if not start <= stop <= len(self._data):
            with named(self._name, row):
                raise CorruptData(f"its blob is bytes {start} to {stop} of {len(self._data)}")
        return start, stop

    def blob(self, row: int) -> memoryview:
        """The blob of a row, against its checksum."""
        start, stop = self._bounds(row)
        blob = self._data[start:stop]
        if self._verify and xxh3_64_intdigest(blob) != self._sums[row]:
            self._mismatch(row)
        return blob if self._chain is None else self._undone(self._chain, blob, row)

    def _undone(self, chain: Chain, stored: memoryview, row: int) -> memoryview:
        with named(self._name, row):
            blob = memoryview(chain.undo(stored, Unit("blobs", self._index, row)))
        self._opened(len(blob))
        return blob

    def blobs(self, rows: Rows) -> list[memoryview]:
        """The blobs of rows, each against its checksum."""
        starts, stops = self._offsets[rows].tolist(), self._offsets[rows + 1].tolist()
        sums = self._sums[rows].tolist() if self._verify else starts
        data, size, found = self._data, len(self._data), []
        for row, start, stop, wanted in zip(rows.tolist(), starts, stops, sums, strict=True):
            if not start <= stop <= size:
                self._bounds(row)
            blob = data[start:stop]
            if self._verify and xxh3_64_intdigest(blob) != wanted:
                self._mismatch(row)
            found.append(blob)
        return found if self._chain is None else self._all_undone(self._chain, found, rows)

    def _all_undone(
        self, chain: Chain, stored: Sequence[memoryview], rows: Rows
    ) -> list[memoryview]:
        blobs, numbers, index = list[memoryview](), rows.tolist(), self._index
        try:
            for blob, row in zip(stored, numbers, strict=True):
                blobs.append(memoryview(chain.undo(blob, Unit("blobs", index, row))))
        except CorruptData:
            self._undone(chain, stored[len(blobs)], numbers[len(blobs)])
            raise
        self._opened(sum(map(len, blobs)))
        return blobs

    def _mismatch(self, row: int) -> NoReturn:
        raise CorruptData(
            f"chunk {self._name}, row {row}: its blob does not match its checksum; fetch or write "
            "this chunk again"
        )

    def problems(self) -> Iterator[Problem]:
        """All rows that are not as they were written."""
        for row in range(len(self._sums)):
            try:
                self.blob(row)
            except CorruptData as error:
                yield row, row, error


class PagedBlobs(Blobs):
    """Blobs that were filtered in pages, several rows at once: bytes, as tokens are numbers."""

    def __init__(
        self, body: memoryview, group: BlobGroup, *, name: str, verify: bool, pages: Pages
    ) -> None:
        super().__init__(group, name)
        run = TokenColumn(
            field=group.fields[0],
            dtype="|u1",
            page=group.page or 1,
            offsets=group.offsets,
            sums=group.sums,
            data=group.data,
            raw=group.raw,
        )
        self._run = TokenView(body, run, name=name, verify=verify, pages=pages, what="blobs")

    def blob(self, row: int) -> memoryview:
        """The blob of a row."""
        return self._run.row(row).data

    def blobs(self, rows: Rows) -> list[memoryview]:
        """The blobs of rows."""
        content, starts, stops = self._run.rows(rows)
        data = content.data
        return [data[a:b] for a, b in zip(starts.tolist(), stops.tolist(), strict=True)]

    def spans(self, rows: Rows) -> Spans:
        """Those of the pages that hold them."""
        return self._run.row_spans(rows)

    def problems(self) -> Iterator[Problem]:
        """All rows whose page, or offsets, are not as they were written."""
        return self._run.problems()


class named:  # noqa: N801 - reads as a clause: with named(chunk, row)
    """Adds the chunk's name, and the row, to errors on their way out."""

    def __init__(self, name: str, row: int | None = None) -> None:
        self._place = f"chunk {name}" if row is None else f"chunk {name}, row {row}"

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        named = CorruptData | UnsupportedError | CannotDecrypt
        if isinstance(error, named) and "chunk " not in str(error)[:6]:
            raise type(error)(f"{self._place}: {error}") from None
