"""Reading rows from the bytes of a chunk, each checked before it is given out."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
from xxhash import xxh3_64_intdigest

from millstream.errors import CorruptData, UnsupportedError
from millstream.format.codecs import Shape
from millstream.format.header import np_u64, read_header
from millstream.format.layout import BlobGroup, Column, Layout
from millstream.format.spans import NO_SPANS, Spans, joined, spans
from millstream.format.token_view import TokenView

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """Rows first to last of a chunk that do not match a checksum. fields: all that it covers."""

    fields: tuple[str, ...]
    first: int
    last: int
    error: CorruptData


class ChunkView:
    """A whole chunk in memory, or mapped; every read verifies what it reads.

    Pages of columns are verified at their first use, blobs every time. With verify=False
    nothing but the header is. The errors raised (CorruptData) say the chunk's name and the row.
    """

    def __init__(self, content: memoryview, name: str, *, verify: bool = True) -> None:
        self.name = name
        with _named(name):
            header = read_header(content)
            if len(content) != header.size:
                raise CorruptData(f"has {len(content)} bytes, its header says {header.size}")
            _require_plain(header.layout)
        self.layout = header.layout
        self._start, self._body = header.body, content[header.body :]
        self._verify = verify
        self._columns = {column.field: _ColumnView(self, column) for column in self.layout.columns}
        self._groups = {
            field: (view, place)
            for view in [_GroupView(self, group) for group in self.layout.groups]
            for place, field in enumerate(view.fields)
        }
        self._tokens = {
            column.field: TokenView(self._body, column, name=name, verify=verify)
            for column in self.layout.tokens
        }

    def is_column(self, field: int) -> bool:
        """Whether a field's rows lie in a column here."""
        return field in self._columns

    def take(self, field: int, rows: Rows, out: npt.NDArray[Any] | None = None) -> npt.NDArray[Any]:
        """Rows of a column, copied: (len(rows), *shape) of the storage dtype, into `out` if given.

        rows: numbers that the chunk has.
        """
        return self._columns[field].take(rows, out)

    def cell(self, field: int, row: int) -> npt.NDArray[Any]:
        """One row of a column, (1, *shape), where it lies."""
        return self._columns[field].cell(row)

    def shape(self, field: int) -> Shape | None:
        """The shape that all rows of a field share; None if it has no column here."""
        return self._columns[field].shape if field in self._columns else None

    def payload(self, field: int, row: int) -> memoryview:
        """One row of a field that lies row by row."""
        group, place = self._groups[field]
        return group.split(group.blob(row), row)[place]

    def payloads(self, fields: Sequence[int], rows: Rows) -> list[Sequence[memoryview]]:
        """Rows of fields that lie row by row, a list a field; a blob that fields share is
        verified once."""
        found: dict[_GroupView, list[Sequence[memoryview]]] = {}
        for field in fields:
            group, _ = self._groups[field]
            if group not in found:
                found[group] = group.payloads(rows)
        return [found[group][place] for group, place in map(self._groups.__getitem__, fields)]

    def tokens(self, field: int) -> TokenView:
        """A field of tokens; raises CorruptData if it is not stored as one."""
        if field not in self._tokens:
            raise CorruptData(f"chunk {self.name}: the field {field} is no token column here")
        return self._tokens[field]

    def array(self, field: int, row: int, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        """One row of an array field that has no column; shares the memory of the chunk."""
        if field in self._tokens:
            return self._tokens[field].row(row)
        with _named(self.name, row):
            return array_of_blob(self.payload(field, row), dtype)

    @property
    def tables_end(self) -> int:
        """Where the checksums and offsets end in the object: `spans` needs all before it."""
        return self._start + self.layout.tables_bytes

    def spans(self, fields: Iterable[int], rows: Rows) -> Spans:
        """The bytes of the object, beyond its tables, that reading these rows needs.

        rows: numbers, or for token fields alone also ranges of tokens, (n, 2). Whole pages of
        columns if pages are verified. Raises CorruptData for a blob that would lie outside the
        chunk.
        """
        if rows.ndim == 2:
            found = [self.tokens(field).spans(rows) for field in fields]
            return joined(np.concatenate([NO_SPANS, *found]) + self._start)
        rows = np.unique(rows)
        needed = [self._columns[f].spans(rows) for f in fields if f in self._columns]
        groups = {self._groups[field][0] for field in fields if field in self._groups}
        needed += [group.spans(rows) for group in groups]
        needed += [self._tokens[f].row_spans(rows) for f in fields if f in self._tokens]
        return joined(np.concatenate([NO_SPANS, *needed]) + self._start)

    def problems(self) -> Iterator[Damage]:
        """All that does not match its checksum, by page of a column and by row."""
        for number, column in self._columns.items():
            for page, error in _failures(column.check, column.pages):
                first, last = column.rows_of(page)
                yield Damage(fields=self._names([number]), first=first, last=last, error=error)
        for group in self.layout.groups:
            view, _ = self._groups[group.fields[0]]
            for row, error in _failures(view.blob, self.layout.rows):
                yield Damage(fields=self._names(group.fields), first=row, last=row, error=error)
        for number, tokens in self._tokens.items():
            for first, last, error in tokens.problems():
                yield Damage(fields=self._names([number]), first=first, last=last, error=error)

    def _names(self, fields: Sequence[int]) -> tuple[str, ...]:
        return tuple(self.layout.schema.fields[field].name for field in fields)


def array_of_blob(blob: memoryview, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """An array from its blob: rank, shape, elements; raises CorruptData."""
    (rank,) = struct.unpack_from("<Q", blob) if len(blob) >= 8 else (1 << 63,)
    start = 8 + 8 * rank
    if rank > 64 or start > len(blob):
        raise CorruptData(f"an array of rank {rank} in {len(blob)} bytes")
    shape = struct.unpack_from(f"<{rank}Q", blob, 8)
    if prod(shape) * dtype.itemsize != len(blob) - start:
        raise CorruptData(f"an array of shape {shape}, {dtype}, in {len(blob) - start} bytes")
    return np.frombuffer(blob[start:], dtype).reshape(shape)


# What is in these two is copied from the chunk's view, not looked up there: in a cycle of
# references a chunk that nobody reads any more would stay mapped until the garbage is collected.


class _ColumnView:
    def __init__(self, chunk: ChunkView, column: Column) -> None:
        self._name, self._column = chunk.name, column
        self._verify = chunk._verify
        self._rows = chunk.layout.rows
        self._field = chunk.layout.schema.fields[column.field].name
        data = chunk._body[column.data.offset : column.data.stop]
        self._bytes = data
        self._array = np.frombuffer(data, column.dtype).reshape(self._rows, *column.shape)
        self._sums = np_u64(chunk._body, column.sums)
        self._good = np.zeros(len(self._sums), np.bool_)
        self._unverified = self._verify and len(self._sums) > 0
        self.shape = column.shape
        self.pages = len(self._sums)

    def take(self, rows: Rows, out: npt.NDArray[Any] | None) -> npt.NDArray[Any]:
        if out is not None and out.dtype != self._array.dtype:
            raise CorruptData(
                f"chunk {self._name}: the column {self._field!r} holds {self._array.dtype}, its "
                f"dataset {out.dtype}; fetch or write this chunk again"
            )
        if self._unverified:
            pages = rows // self._column.page
            if not (good := self._good[pages]).all():
                self._verify_pages(np.unique(pages[~good]).tolist())
        # With the mode "raise" numpy would gather into memory of its own and copy from there.
        return self._array.take(rows, axis=0, out=out, mode="clip")

    def cell(self, row: int) -> npt.NDArray[Any]:
        if self._unverified and not self._good[page := row // self._column.page]:
            self._verify_pages([page])
        return self._array[row : row + 1]

    def _verify_pages(self, pages: Sequence[int]) -> None:
        for page in pages:
            self.check(page)
            self._good[page] = True
        self._unverified = not self._good.all()

    def spans(self, rows: Rows) -> Spans:
        unit = self._column.page if self._verify else 1
        starts = np.unique(rows // unit) * unit
        stops = np.minimum(starts + unit, self._rows)
        return self._column.data.offset + self._column.itemsize * spans(starts, stops)

    def rows_of(self, page: int) -> tuple[int, int]:
        """The first and the last row of a page."""
        rows = self._column.page
        return page * rows, min((page + 1) * rows, self._rows) - 1

    def check(self, page: int) -> None:
        step = self._column.page * self._column.itemsize
        if xxh3_64_intdigest(self._bytes[page * step : (page + 1) * step]) != self._sums[page]:
            first, last = self.rows_of(page)
            raise CorruptData(
                f"chunk {self._name}, rows {first} to {last}: the column {self._field!r} "
                "does not match its checksum; fetch or write this chunk again"
            )


class _GroupView:
    def __init__(self, chunk: ChunkView, group: BlobGroup) -> None:
        self._name, self._verify = chunk.name, chunk._verify
        self.fields, self._base = group.fields, group.data.offset
        self._data = chunk._body[group.data.offset : group.data.stop]
        self._offsets = np_u64(chunk._body, group.offsets)
        self._sums = np_u64(chunk._body, group.sums)
        self._lengths = struct.Struct(f"<{len(group.fields) - 1}Q")

    def spans(self, rows: Rows) -> Spans:
        starts, stops = self._offsets[rows], self._offsets[rows + 1]
        for row in rows[(starts > stops) | (stops > len(self._data))].tolist():
            self._bounds(row)
        return self._base + spans(starts, stops)

    def _bounds(self, row: int) -> tuple[int, int]:
        start, stop = int(self._offsets[row]), int(self._offsets[row + 1])
        if not start <= stop <= len(self._data):
            with _named(self._name, row):
                raise CorruptData(f"its blob is bytes {start} to {stop} of {len(self._data)}")
        return start, stop

    def blob(self, row: int) -> memoryview:
        start, stop = self._bounds(row)
        blob = self._data[start:stop]
        if self._verify and xxh3_64_intdigest(blob) != self._sums[row]:
            self._mismatch(row)
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
        return found

    def _mismatch(self, row: int) -> NoReturn:
        raise CorruptData(
            f"chunk {self._name}, row {row}: its blob does not match its checksum; fetch or write "
            "this chunk again"
        )

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
        with _named(self._name, row):
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


def _require_plain(layout: Layout) -> None:
    if wanted := layout.filters.names():
        raise UnsupportedError(
            f"is written with {', '.join(wanted)}, which this version of millstream cannot read"
        )


class _named:  # noqa: N801 - reads as a clause: with _named(chunk, row)
    """Adds the chunk's name, and the row, to errors on their way out."""

    def __init__(self, name: str, row: int | None = None) -> None:
        self._place = f"chunk {name}" if row is None else f"chunk {name}, row {row}"

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, CorruptData | UnsupportedError) and "chunk " not in str(error)[:6]:
            raise type(error)(f"{self._place}: {error}") from None


def _failures(check: Callable[[int], object], count: int) -> Iterator[tuple[int, CorruptData]]:
    for index in range(count):
        try:
            check(index)
        except CorruptData as error:
            yield index, error
