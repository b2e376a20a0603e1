"""Tells the fetcher which files a stream will read, as far ahead as it may need to know."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from millstream.reading.fetching.asks import ListedNeeds
from millstream.reading.fetching.client import Following
from millstream.reading.protocol import NeedyEpoch
from millstream.reading.reader import Rows

# The samples of a rank that are known ahead: in epochs of millions nobody has to know them all.
AHEAD = 4_096

# The files of rows, beside the positions at which they are read.
NeedsOf = Callable[[Rows, Rows], ListedNeeds]


class FilesAhead:
    """Goes ahead of a rank through epochs; positions count through all of them."""

    def __init__(
        self,
        following: Following,
        epochs: Iterable[NeedyEpoch],
        rank: int,
        ranks: int,
        needs_of: NeedsOf,
    ) -> None:
        self._following, self._epochs = following, list(epochs)
        self._rank, self._ranks, self._needs_of = rank, ranks, needs_of
        self._told = 0  # all positions before this one

    def at(self, position: int) -> None:
        """The stream has passed all positions before this one."""
        self._following.at(position)
        self._told = max(self._told, position)
        if self._told - position < AHEAD * self._ranks // 2:
            self._tell(self._told, position + AHEAD * self._ranks)
            self._told = position + AHEAD * self._ranks

    def _tell(self, start: int, stop: int) -> None:
        before = 0
        for epoch in self._epochs:
            first, last = max(start - before, 0), min(stop - before, epoch.length)
            if first < last:
                positions = np.arange(
                    first + (self._rank - first) % self._ranks, last, self._ranks, dtype=np.int64
                )
                rows = epoch.rows(positions)
                mine = rows >= 0
                if mine.any():
                    needs = self._needs_of(rows[mine], before + positions[mine])
                    self._following.tell(needs)
            before += epoch.length
