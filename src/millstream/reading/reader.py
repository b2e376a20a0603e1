"""Rows by their numbers, many at a time, out of whatever chunks they lie in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from millstream.errors import RowOutOfRange
from millstream.format import ChunkTable, ChunkView
from millstream.reading.renewal import read_renewed

Rows = npt.NDArray[np.int64]
Array = npt.NDArray[Any]

T = TypeVar("T")

# What is read of one field: a column where all rows share a shape, else an array or the stored
# bytes of each row.
Values = Array | list[Array] | list[memoryview]

# Makes an array of a shape and a dtype, not filled: numpy.empty, or one that lies in a slot.
Empty = Callable[[tuple[int, ...], np.dtype[Any]], Array]


class Chunks(Protocol):
    """Where the reader gets chunks from."""

    def views(self, wanted: Sequence[tuple[int, Rows]], fields: Sequence[int]) -> list[ChunkView]:
        """Chunks by their numbers; of each only these rows, and fields, need to be there."""

    def renew(self, chunks: Iterable[int]) -> bool:
        """Forgets copies of these chunks that went bad; True if reading again may help."""

    def recovered(self, chunks: Iterable[int]) -> None:
        """Reading these again has helped."""


@dataclass(frozen=True, slots=True, eq=False)
class ByChunk:
    """Wanted rows in the order of their chunks.

    chunks, firsts: the number of each chunk, and of its first row. spans: which of `rows` lie in
    it. back: for each wanted row its place in `rows`; None if they were wanted in that order.
    """

    chunks: list[int]
    firsts: list[int]
    spans: list[slice]
    rows: Rows
    back: Rows | None


def by_chunk(rows: Rows, ends: Rows) -> ByChunk:
    """Sorts rows of a version by chunk. ends: for each chunk the number after its last row."""
    chunks = ends.searchsorted(rows, "right")
    later = chunks[1:] - chunks[:-1]
    back = None
    if len(later) and later.min() < 0:
        order = chunks.argsort(kind="stable")
        rows, chunks = rows[order], chunks[order]
        later = chunks[1:] - chunks[:-1]
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
    starts = [0, *(later.nonzero()[0] + 1).tolist()] if len(rows) else []
    numbers = chunks[starts].tolist() if starts else []
    return ByChunk(
        chunks=numbers,
        firsts=[int(ends[number - 1]) if number else 0 for number in numbers],
        spans=[slice(*span) for span in pairwise([*starts, len(rows)])],
        rows=rows,
        back=back,
    )


@dataclass(frozen=True, slots=True)
class _Run:
    """The wanted rows of one chunk: their numbers in it, and where they go, by chunk.

    payloads: of the fields that lie row by row in this chunk.
    """

    view: ChunkView
    rows: Rows
    span: slice
    payloads: Mapping[int, Sequence[memoryview]]

    def arrays(self, field: int, dtype: np.dtype[Any]) -> list[Array]:
        """An array field, row by row."""
        if self.view.is_column(field):
            return list(self.view.take(field, self.rows))
        rows = self.rows.tolist()
        if field in self.payloads:
            return self.view.arrays(self.payloads[field], rows, dtype)
        return [self.view.array(field, row, dtype) for row in rows]


def _payloads(
    view: ChunkView, fields: Sequence[int], rows: Rows
) -> dict[int, Sequence[memoryview]]:
    """Those fields that lie row by row in a chunk; a blob that they share is opened once."""
    here = [field for field in fields if view.is_in_rows(field)]
    return dict(zip(here, view.payloads(here, rows), strict=True)) if here else {}


@dataclass(frozen=True, slots=True)
class _Runs:
    """Wanted rows beside the chunks that they are read from. back: as that of `ByChunk`."""

    runs: list[_Run]
    back: Rows | None
    count: int

    def column(self, field: int, out: Array) -> Array:
        """A field that is a column in each of the chunks, gathered into `out`."""
        mixed = out if self.back is None else np.empty_like(out)
        for run in self.runs:
            run.view.take(field, run.rows, mixed[run.span])
        return self.in_order(mixed, out)

    def payloads(self, field: int) -> list[memoryview]:
        """The stored bytes of a field, row by row."""
        return self.listed([payload for run in self.runs for payload in run.payloads[field]])

    def in_order(self, mixed: Array, out: Array) -> Array:
        """Values that lie by chunk, in the order in which they are wanted, in `out`."""
        if self.back is not None:
            mixed.take(self.back, axis=0, out=out, mode="clip")
        return out

    def listed(self, mixed: list[T]) -> list[T]:
        """The same for a list."""
        return mixed if self.back is None else [mixed[place] for place in self.back.tolist()]


class Reader:
    """Reads rows of one dataset version.

    dtypes: the storage dtype of each array field, None for fields of bytes.
    """

    def __init__(
        self,
        chunks: Chunks,
        table: ChunkTable,
        dtypes: Sequence[np.dtype[Any] | None],
    ) -> None:
        self._chunks, self._dtypes = chunks, dtypes
        self._ends = np.cumsum(table.rows, dtype=np.int64)
        self._total = int(self._ends[-1]) if len(table) else 0

    def read(
        self, rows: Rows, fields: Sequence[int], empty: Empty = np.empty
    ) -> tuple[list[Values], Rows]:
        """The wanted fields of rows (int64, in any order, repeats allowed), in that order.

        And which rows these really are: their numbers, as they were taken from the chunks that
        were opened. Nothing is read of other fields, but for those that share a blob with a wanted
        one. empty: makes the columns. Raises RowOutOfRange.
        """
        if len(rows) and rows.view(np.uint64).max() >= self._total:
            raise RowOutOfRange(f"a row lies outside a version of {self._total:,} rows")
        return self._renewing(rows, lambda: self._read(rows, fields, empty))

    def read_one(self, row: int, fields: Sequence[int]) -> list[Values]:
        """The wanted fields of one row that the version has; columns, (1, *shape), where they lie.

        The same as `read` in a tenth of its time.
        """
        return self._renewing(np.array([row], np.int64), lambda: self._read_one(row, fields))

    def _renewing(self, rows: Rows, read: Callable[[], T]) -> T:
        return read_renewed(self._chunks, lambda: self._chunks_of(rows), read)

    def _chunks_of(self, rows: Rows) -> list[int]:
        return list(map(int, np.unique(np.searchsorted(self._ends, rows, side="right"))))

    def _read(self, rows: Rows, fields: Sequence[int], empty: Empty) -> tuple[list[Values], Rows]:
        runs, taken = self._runs(rows, fields)
        values: list[Values] = []
        for field in fields:
            dtype = self._dtypes[field]
            values.append(
                runs.payloads(field) if dtype is None else _arrays(field, runs, dtype, empty)
            )
        return values, taken

    def _runs(self, rows: Rows, fields: Sequence[int]) -> tuple[_Runs, Rows]:
        """Opens the chunks. The numbers of the rows come back the way that all values come."""
        wanted = by_chunk(rows, self._ends)
        spans, firsts = wanted.spans, wanted.firsts
        within = [wanted.rows[s] - first for s, first in zip(spans, firsts, strict=True)]
        views = self._chunks.views(list(zip(wanted.chunks, within, strict=True)), fields)
        opened = [
            _Run(view, some, span, _payloads(view, fields, some))
            for view, some, span in zip(views, within, spans, strict=True)
        ]
        runs = _Runs(opened, wanted.back, len(wanted.rows))
        taken = np.full(runs.count, -1, np.int64)
        for run, first in zip(opened, firsts, strict=True):
            np.add(run.rows, first, out=taken[run.span])
        return runs, runs.in_order(taken, taken if wanted.back is None else np.empty_like(taken))

    def _read_one(self, row: int, fields: Sequence[int]) -> list[Values]:
        chunk = int(self._ends.searchsorted(row, "right"))
        row -= int(self._ends[chunk - 1]) if chunk else 0
        rows = np.array([row], np.int64)
        (view,) = self._chunks.views([(chunk, rows)], fields)
        payloads = _payloads(view, fields, rows)
        values: list[Values] = []
        for field in fields:
            dtype = self._dtypes[field]
            if dtype is None:
                values.append(list(payloads[field]))
            elif view.is_column(field):
                values.append(view.cell(field, row))
            elif field in payloads:
                values.append(view.arrays(payloads[field], [row], dtype))
            else:
                values.append([view.array(field, row, dtype)])
        return values


def _arrays(field: int, runs: _Runs, dtype: np.dtype[Any], empty: Empty) -> Values:
    """An array field: one array if all rows share a shape, else one each."""
    shapes = {run.view.shape(field) for run in runs.runs}
    if len(shapes) == 1 and (shape := shapes.pop()) is not None:
        return runs.column(field, empty((runs.count, *shape), dtype))
    found = runs.listed([array for run in runs.runs for array in run.arrays(field, dtype)])
    # What lies row by row, since it is encrypted, may be alike all the same.
    alike = {(array.shape, array.dtype) for array in found}
    if len(alike) != 1 or found[0].dtype != dtype:
        return found
    return np.stack(found, out=empty((runs.count, *found[0].shape), dtype))
