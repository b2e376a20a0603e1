"""Blocks of one size over chunks that are laid end to end: block i has the elements from i * size.

A block belongs to the chunk where it starts. What is left at the end and fills no block is none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from millstream.plan.permute import Ints


def block_counts(lengths: Ints, size: int) -> Ints:
    """How many blocks start in each chunk, from the chunks' lengths."""
    ends = np.cumsum(lengths)
    whole = int(ends[-1]) // size if len(ends) else 0
    before = np.minimum(-(-ends // size), whole)  # the blocks that start before a chunk's end
    return np.diff(before, prepend=0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pieces:
    """Parts of blocks, each in one chunk, and sorted by chunk; int64, one entry a piece.

    place: which of the blocks. at: where in it the piece begins. start, stop: which elements of
    the chunk it is.
    """

    chunk: Ints
    place: Ints
    at: Ints
    start: Ints
    stop: Ints

    def by_chunk(self) -> Iterator[tuple[int, slice]]:
        """The chunks, and which of the pieces lie in each."""
        chunks = self.chunk.tolist()
        starts = [i for i, chunk in enumerate(chunks) if not i or chunk != chunks[i - 1]]
        for first, stop in pairwise([*starts, len(chunks)]):
            yield chunks[first], slice(first, stop)

    def with_others(self, others: Pieces) -> Pieces:
        """These and others, sorted by chunk."""
        return _sorted([self.columns(), others.columns()])

    def columns(self) -> tuple[Ints, Ints, Ints, Ints, Ints]:
        """What it holds, in the order in which it is told above."""
        return self.chunk, self.place, self.at, self.start, self.stop

    def ranges(self) -> Ints:
        """start and stop side by side: (pieces, 2)."""
        both = np.empty((len(self.start), 2), np.int64)
        both[:, 0], both[:, 1] = self.start, self.stop
        return both


def _sorted(found: Sequence[tuple[Ints, Ints, Ints, Ints, Ints]]) -> Pieces:
    """Pieces by chunk, of columns in the order of `Pieces`."""
    columns = found[0] if len(found) == 1 else map(np.concatenate, zip(*found, strict=True))
    chunk, place, at, start, stop = columns
    order = chunk.argsort(kind="stable")
    return Pieces(
        chunk=chunk[order],
        place=place[order],
        at=at[order],
        start=start[order],
        stop=stop[order],
    )


class BlockLine:
    """Where the elements of blocks lie. lengths: the elements of each chunk."""

    def __init__(self, lengths: Ints, size: int) -> None:
        self._lengths, self._size = lengths, size
        self._ends = np.cumsum(lengths)
        self._firsts = self._ends - lengths

    def pieces(self, blocks: Ints) -> tuple[Pieces, Pieces | None]:
        """What blocks begin with, one piece a block; and what is left of them, in further chunks.

        None for what is left if there is nothing.
        """
        begin = blocks * self._size
        chunk = self._ends.searchsorted(begin, "right")
        start = begin - self._firsts[chunk]
        stop = start + self._size
        beyond = stop > self._lengths[chunk]
        heads = None
        if beyond.any():
            stop = np.minimum(stop, self._lengths[chunk])
            places = np.flatnonzero(beyond)
            heads = self._heads(places, (stop - start)[places], self._ends[chunk[places]])
        place, at = np.arange(len(blocks)), np.zeros(len(blocks), np.int64)
        return _sorted([(chunk, place, at, start, stop)]), heads

    def _heads(self, place: Ints, at: Ints, begin: Ints) -> Pieces:
        """What is left of blocks of which so many elements are known, and this one comes next."""
        found = []
        while len(place):
            chunk = self._ends.searchsorted(begin, "right")
            stop = np.minimum(begin + self._size - at, self._ends[chunk])
            first = self._firsts[chunk]
            found.append((chunk, place, at, begin - first, stop - first))
            at = at + stop - begin
            rest = at < self._size
            place, at, begin = place[rest], at[rest], stop[rest]
        return _sorted(found)

    def blocks(self, pieces: Pieces) -> Ints:
        """The numbers of the blocks that begin with these pieces."""
        return (self._firsts[pieces.chunk] + pieces.start) // self._size
