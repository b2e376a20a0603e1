"""Rows by their numbers, many at a time, out of whatever chunks they lie in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from millstream.format import ChunkTable, ChunkView
from millstream.reading.renewal import read_renewed

Rows = npt.NDArray[np.int64]
Array = npt.NDArray[Any]

# What is read of one field: a column where all rows share a shape, else an array or the stored
# bytes of each row.
Values = Array | list[Array] | list[memoryview]


class Chunks(Protocol):
    """Where the reader gets chunks from."""

    def views(self, wanted: Sequence[tuple[int, Rows]], fields: Sequence[int]) -> list[ChunkView]:
        """Chunks by their numbers; of each only these rows, and fields, need to be there."""

    def renew(self, chunks: Iterable[int]) -> bool:
        """Forgets copies of these chunks that went bad; True if reading again may help."""

    def recovered(self, chunks: Iterable[int]) -> None:
        """Reading these again has helped."""


@dataclass(frozen=True, slots=True)
class _Run:
    """The wanted rows of one chunk: their numbers in it, and where they go in the batch.

    first: the number in the version of the chunk's first row.
    """

    view: ChunkView
    first: int
    rows: Rows
    places: Rows


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

    def read(self, rows: Rows, fields: Sequence[int]) -> tuple[list[Values], Rows]:
        """The wanted fields of rows (int64, in any order, repeats allowed), in that order.

        And which rows these really are: their numbers, as they were taken from the chunks that
        were opened; -1 where nothing was. Nothing is read of other fields, but for those that
        share a blob with a wanted one.
        """
        return read_renewed(
            self._chunks, lambda: self._chunks_of(rows), lambda: self._read(rows, fields)
        )

    def _chunks_of(self, rows: Rows) -> list[int]:
        return list(map(int, np.unique(np.searchsorted(self._ends, rows, side="right"))))

    def _read(self, rows: Rows, fields: Sequence[int]) -> tuple[list[Values], Rows]:
        runs = self._runs(rows, fields)
        taken = np.full(len(rows), -1, np.int64)
        for run in runs:
            taken[run.places] = run.first + run.rows
        bytes_fields = [field for field in fields if self._dtypes[field] is None]
        payloads = dict(zip(bytes_fields, _payloads(bytes_fields, runs, len(rows)), strict=True))
        values: list[Values] = []
        for field in fields:
            dtype = self._dtypes[field]
            values.append(
                payloads[field] if dtype is None else _array_field(field, runs, len(rows), dtype)
            )
        return values, taken

    def _runs(self, rows: Rows, fields: Sequence[int]) -> list[_Run]:
        chunks = np.searchsorted(self._ends, rows, side="right")
        places = np.argsort(chunks, kind="stable")
        borders = np.flatnonzero(np.diff(chunks[places])) + 1
        parts = np.split(places, borders) if len(rows) else []
        numbers = [int(chunks[part[0]]) for part in parts]
        firsts = [int(self._ends[chunk - 1]) if chunk else 0 for chunk in numbers]
        within = [rows[part] - first for part, first in zip(parts, firsts, strict=True)]
        views = self._chunks.views(list(zip(numbers, within, strict=True)), fields)
        return [_Run(*run) for run in zip(views, firsts, within, parts, strict=True)]


def _array_field(field: int, runs: Sequence[_Run], count: int, dtype: np.dtype[Any]) -> Values:
    shapes = {run.view.shape(field) for run in runs}
    if len(shapes) == 1 and (shape := shapes.pop()) is not None:
        return _column(field, runs, np.empty((count, *shape), dtype))
    return _arrays(field, runs, count, dtype)


def _column(field: int, runs: Sequence[_Run], out: Array) -> Array:
    if len(runs) == 1 and np.array_equal(runs[0].places, np.arange(len(out))):
        return runs[0].view.take(field, runs[0].rows)
    for run in runs:
        out[run.places] = run.view.take(field, run.rows)
    return out


def _arrays(field: int, runs: Sequence[_Run], count: int, dtype: np.dtype[Any]) -> list[Array]:
    out: list[Array] = [np.empty(0)] * count
    for run in runs:
        column = run.view.take(field, run.rows) if run.view.is_column(field) else None
        for index, (row, place) in enumerate(
            zip(run.rows.tolist(), run.places.tolist(), strict=True)
        ):
            out[place] = run.view.array(field, row, dtype) if column is None else column[index]
    return out


def _payloads(fields: Sequence[int], runs: Sequence[_Run], count: int) -> list[list[memoryview]]:
    """The stored bytes of each field, row by row."""
    out = [[memoryview(b"")] * count for _ in fields]
    for run in runs if fields else []:
        for row, place in zip(run.rows.tolist(), run.places.tolist(), strict=True):
            for column, payload in zip(out, run.view.payloads(fields, row), strict=True):
                column[place] = payload
    return out
