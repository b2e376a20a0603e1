"""Keeps what fetches ahead of a stream told how far the stream is."""

from __future__ import annotations

from typing import Protocol

from millstream.plan.permute import Ints
from millstream.reading.protocol import NeedyEpoch, RowSource

# It is told about so often a chunk.
TELLS_A_CHUNK = 8


class Needing(Protocol):
    """An order, as who reads one source of it must know it."""

    @property
    def length(self) -> int:
        """The positions of an epoch."""

    @property
    def chunk_rows(self) -> Ints:
        """The rows of each chunk of the source."""

    def epoch(self, number: int) -> NeedyEpoch:
        """One epoch."""


class Ahead:
    """Has the chunks fetched that a rank needs from a position of an epoch on, beyond its end too.

    Who forgets it in the middle of the epoch ends that. Does nothing where the chunks are near.
    among: the streams that share the cache's room.
    """

    def __init__(
        self,
        source: RowSource,
        order: Needing,
        epoch: int,
        start: int,
        *,
        rank: int,
        ranks: int,
        among: int = 1,
    ) -> None:
        self._source, self._length = source, order.length
        self._stride = max(1, order.length // max(1, TELLS_A_CHUNK * len(order.chunk_rows)))
        self._next = start
        epochs = order.epoch(epoch), order.epoch(epoch + 1)
        self._following = source.follow(epochs, rank, ranks, among)
        before, source.next_up = source.next_up, None
        self.passed(start)
        del before  # only now: meanwhile it held what is needed

    def passed(self, position: int) -> None:
        """All positions of the epoch before this one were read."""
        if self._following is None or (position < self._next and position < self._length):
            return
        self._following.at(position)
        self._next = position + self._stride
        if position >= self._length:
            self._source.next_up, self._following = self._following, None
