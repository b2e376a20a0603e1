"""A chunk of which only a part is there: its lead, and what rows have needed so far.

Either in private memory, where the rest never comes, or in a file of the cache that is on its way.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from contextlib import suppress

import numpy as np

from millstream.errors import CorruptData
from millstream.format import PUBLIC, ChunkTable, ChunkView, Undoing
from millstream.format.spans import Spans, joined, missing, spans
from millstream.reading.chunks import listed_view
from millstream.reading.reader import Rows

# What reading a row may cost beyond its own bytes.
EXTRA_BYTES = 65_536


class SparseChunk:
    """Says which bytes rows need that are not there yet; does no IO.

    content: all bytes of the chunk, of which the lead is there. view: to read the rows from that
    are there. Raises CorruptData for a lead that says less than the manifest promises.
    """

    def __init__(
        self,
        content: memoryview,
        table: ChunkTable,
        chunk: int,
        *,
        verify: bool,
        undoing: Undoing = PUBLIC,
    ) -> None:
        lead = lead_of(table, chunk)
        self.content, self._there = content, spans([0], [lead])
        self.view: ChunkView = listed_view(content, table, chunk, verify=verify, undoing=undoing)
        if self.view.tables_end > lead:
            raise CorruptData(
                f"chunk {table.name(chunk)}: its tables end at byte {self.view.tables_end}, the "
                f"manifest says that {lead} bytes are enough; write the manifest again"
            )

    def lacking(self, fields: Sequence[int], rows: Rows) -> list[tuple[int, int]]:
        """What is missing of some rows: together at most EXTRA_BYTES a row too much.

        rows: as in `ChunkView.spans`.
        """
        lacking = missing(self.view.spans(fields, rows), self._there)
        if len(lacking):
            lacking = joined(lacking, _gap(len(np.unique(rows, axis=0)), len(lacking)))
        return [(start, stop) for start, stop in lacking.tolist()]

    def came(self, pieces: Sequence[tuple[int, int]]) -> None:
        """These bytes are there now."""
        self._there = joined(np.concatenate([self._there, _spans(pieces)]))

    @property
    def nbytes(self) -> int:
        """The bytes of memory, in whole pages, that what is there takes."""
        page = mmap.PAGESIZE
        return int((-(-self._there[:, 1] // page) - self._there[:, 0] // page).sum()) * page


class PrivateChunk(SparseChunk):
    """One in memory of its own. Untouched pages of it cost nothing, so it has the full size."""

    def __init__(
        self,
        lead: bytes | memoryview,
        table: ChunkTable,
        chunk: int,
        *,
        verify: bool,
        undoing: Undoing = PUBLIC,
    ) -> None:
        self._memory = _reserve(int(table.sizes[chunk]))
        self._memory[: len(lead)] = lead
        content = memoryview(self._memory).toreadonly()
        super().__init__(content, table, chunk, verify=verify, undoing=undoing)

    def take(
        self, pieces: Sequence[tuple[int, int]], contents: Sequence[bytes | memoryview]
    ) -> None:
        """Keeps bytes that were fetched."""
        for (start, stop), content in zip(pieces, contents, strict=True):
            self._memory[start:stop] = content
        self.came(pieces)


def lead_of(table: ChunkTable, chunk: int) -> int:
    """How much of a chunk to read first, in bytes."""
    return min(int(table.lead[chunk]), int(table.sizes[chunk]))


def check_lengths(
    name: str, pieces: Sequence[tuple[int, int]], contents: Sequence[bytes | memoryview]
) -> None:
    """Raises CorruptData unless as many bytes came as were asked for."""
    for (start, stop), content in zip(pieces, contents, strict=True):
        if len(content) != stop - start:
            raise CorruptData(
                f"chunk {name}: bytes {start} to {stop} were asked for, {len(content)} arrived; "
                "copy or write this chunk again"
            )


def _spans(pieces: Sequence[tuple[int, int]]) -> Spans:
    return spans([start for start, _ in pieces], [stop for _, stop in pieces])


def _gap(rows: int, pieces: int) -> int:
    """How far apart two ranges may be that are fetched as one.

    A request costs more than a few bytes too many. A column's pages already take what one row may
    cost too much, so of n rows n - 1 pay for gaps.
    """
    return min(EXTRA_BYTES, EXTRA_BYTES * (rows - 1) // max(pieces - 1, 1))


def _reserve(size: int) -> mmap.mmap:
    memory = mmap.mmap(-1, size, mmap.MAP_PRIVATE)
    if hasattr(mmap, "MADV_NOHUGEPAGE"):  # else one byte might take 2 MiB
        with suppress(OSError):  # a kernel without huge pages
            memory.madvise(mmap.MADV_NOHUGEPAGE)
    return memory
