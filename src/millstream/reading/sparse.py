"""A chunk of which only what is asked for is fetched, into private memory."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Sequence
from contextlib import suppress

import numpy as np

from millstream.errors import CorruptData
from millstream.format import ChunkTable, ChunkView
from millstream.format.spans import NO_SPANS, Spans, joined, missing, spans
from millstream.reading.chunks import listed_view
from millstream.reading.reader import Rows

# What reading a row may cost beyond its own bytes.
EXTRA_BYTES = 65_536

# Bytes of the chunk's object from a start up to a stop.
Get = Callable[[int, int], bytes | memoryview]


class SparseChunk:
    """Reads the lead at once, and later what rows need, each byte once.

    view: the rows of the chunk, to be read after `need` was called for them. Untouched pages of
    the memory cost nothing, so it may have the size of the whole chunk.
    """

    def __init__(self, table: ChunkTable, chunk: int, get: Get, *, verify: bool) -> None:
        self._name, self._get = table.name(chunk), get
        self._memory = _reserve(int(table.sizes[chunk]))
        self._there = NO_SPANS
        self.nbytes = 0
        lead = min(int(table.lead[chunk]), len(self._memory))
        self._fetch(spans([0], [lead]))
        content = memoryview(self._memory).toreadonly()
        self.view: ChunkView = listed_view(content, table, chunk, verify=verify)
        if self.view.tables_end > lead:
            raise CorruptData(
                f"chunk {self._name}: its tables end at byte {self.view.tables_end}, the manifest "
                f"says that {lead} bytes are enough; write the manifest again"
            )

    def need(self, fields: Sequence[int], rows: Rows) -> None:
        """Fetches what is missing of some rows: together at most EXTRA_BYTES a row too much."""
        lacking = missing(self.view.spans(fields, rows), self._there)
        if len(lacking):
            self._fetch(joined(lacking, _gap(len(np.unique(rows)), len(lacking))))

    def _fetch(self, wanted: Spans) -> None:
        for start, stop in wanted.tolist():
            piece = self._get(start, stop)
            if len(piece) != stop - start:
                raise CorruptData(
                    f"chunk {self._name}: bytes {start} to {stop} were asked for, {len(piece)} "
                    "arrived; copy or write this chunk again"
                )
            self._memory[start:stop] = piece
            self.nbytes += _touched(start, stop)
        self._there = joined(np.concatenate([self._there, wanted]))


def _gap(rows: int, pieces: int) -> int:
    """How far apart two ranges may be that are fetched as one.

    A request costs more than a few bytes too many. A column's pages already take what one row may
    cost too much, so of n rows n - 1 pay for gaps.
    """
    return min(EXTRA_BYTES, EXTRA_BYTES * (rows - 1) // max(pieces - 1, 1))


def _touched(start: int, stop: int) -> int:
    """The bytes of memory that writing a range takes, in whole pages."""
    page = mmap.PAGESIZE
    return (-(-stop // page) - start // page) * page


def _reserve(size: int) -> mmap.mmap:
    memory = mmap.mmap(-1, size, mmap.MAP_PRIVATE)
    if hasattr(mmap, "MADV_NOHUGEPAGE"):  # else one byte might take 2 MiB
        with suppress(OSError):  # a kernel without huge pages
            memory.madvise(mmap.MADV_NOHUGEPAGE)
    return memory
