"""The selected rows of an epoch, laid end to end chunk by chunk."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from millstream.plan.permute import Ints, shuffled
from millstream.plan.selection import Selection


@dataclass(frozen=True, kw_only=True, eq=False)
class Line:
    """A selection's intervals end to end; a place is a number on that line, from 0.

    The intervals of a chunk lie together, in the order of their rows; each copy has its own. The
    chunks come in a random order that `key` decides, or if it is None in their own. Built in
    O(intervals) when first asked.
    """

    chunk_rows: Ints
    selection: Selection
    key: int | None

    def rows(self, places: Ints) -> Ints:
        """The row numbers at places."""
        interval = self._laid[np.searchsorted(self._ends, places, side="right")]
        return places + self._shifts[interval]

    def places(self, rows: Ints) -> tuple[Ints, Ints]:
        """All places of rows, as pairs (index into rows, place); none for rows left out.

        rows: row numbers of the version, nothing else.
        """
        wanted = np.add.outer(np.arange(self.selection.copies) * self.total, rows)
        near = np.searchsorted(self._firsts, wanted, side="right") - 1
        inside = (near >= 0) & (wanted - self._firsts[near] < self._lengths[near])
        index = np.nonzero(inside)[1]
        return index, rows[index] - self._shifts[near[inside]]

    def laid_out(self) -> tuple[Ints, Ints]:
        """The chunk of each interval, as they lie, and the place after its end."""
        return self.selection.chunk[self._laid], self._ends

    @cached_property
    def total(self) -> int:
        """The rows of the version, selected or not."""
        return int(self.chunk_rows.sum())

    @cached_property
    def _laid(self) -> Ints:
        """The numbers of the intervals in the order in which they lie."""
        if self.key is None:
            return np.arange(len(self.selection.chunk))
        return shuffled(self.selection.copy * len(self.chunk_rows) + self.selection.chunk, self.key)

    @cached_property
    def _ends(self) -> Ints:
        """Where they end, in that order."""
        return np.cumsum(self._lengths[self._laid])

    @cached_property
    def _lengths(self) -> Ints:
        return self.selection.stop - self.selection.start

    @cached_property
    def _firsts(self) -> Ints:
        """The first row of each interval, numbered through all copies: so they ascend, and one
        search finds a row in each copy."""
        first_of_chunk = np.cumsum(self.chunk_rows) - self.chunk_rows
        first = first_of_chunk[self.selection.chunk] + self.selection.start
        return self.selection.copy * self.total + first

    @cached_property
    def _shifts(self) -> Ints:
        """Row number minus place, the same for all rows of an interval."""
        shifts = self._firsts - self.selection.copy * self.total + self._lengths
        shifts[self._laid] -= self._ends
        return shifts
