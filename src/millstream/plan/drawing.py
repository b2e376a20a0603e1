"""The sources that the strands of a mixture draw: the schedule's blocks, shuffled."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

import numpy as np

from millstream.plan.permute import Ints, Keys, keyed
from millstream.plan.schedule import Block, Schedule

# The blocks that are kept: a batch lies in one or two, and batches come in order.
BLOCKS_KEPT = 4


class Drawing:
    """Which source comes at a place of a strand, and how many of that source came before.

    strands: how many are shuffled, each by itself.
    """

    def __init__(self, schedule: Schedule, *, strands: int, key: int) -> None:
        self.strands = strands
        self._schedule, self._key = schedule, key
        self._kept: OrderedDict[int, _ShuffledBlock] = OrderedDict()

    def drawn(self, strand: Ints, place: Ints) -> tuple[Ints, Ints]:
        """The source at places of strands, and its draws in the strand before that place."""
        source, draws = np.empty_like(place), np.empty_like(place)
        for block, here in self._by_block(place):
            at = strand[here], place[here] - block.block.start
            source[here], draws[here] = block.drawn(*at)
        return source, draws

    def place_of(self, source: int, strand: int, draw: int) -> int:
        """The place in a strand of the n-th draw of a source."""
        block = self._shuffled(self._schedule.block_of(source, draw))
        return block.block.start + block.place_of(source, strand, draw)

    def _by_block(self, place: Ints) -> Iterator[tuple[_ShuffledBlock, Ints]]:
        """The blocks of places, each with the indices of its own."""
        by_place = np.argsort(place, kind="stable")
        start = 0
        while start < len(place):
            block = self._shuffled(self._schedule.block_at(int(place[by_place[start]])))
            stop = int(np.searchsorted(place, block.block.stop, sorter=by_place))
            yield block, by_place[start:stop]
            start = stop

    def _shuffled(self, block: Block) -> _ShuffledBlock:
        found = self._kept.pop(block.number, None)
        if found is None:
            found = _ShuffledBlock(block, self.strands, self._key)
        self._kept[block.number] = found
        if len(self._kept) > BLOCKS_KEPT:
            self._kept.popitem(last=False)
        return found


class _ShuffledBlock:
    """The draws of a block in each strand, shuffled when a strand is first asked for."""

    def __init__(self, block: Block, strands: int, key: int) -> None:
        self.block = block
        self._key = keyed(key, np.array([block.number]))
        size = block.stop - block.start
        self._source = np.empty((strands, size), np.int64)
        self._draw = np.empty((strands, size), np.int64)
        self._is_known = np.zeros(strands, np.bool_)

    def drawn(self, strand: Ints, place: Ints) -> tuple[Ints, Ints]:
        """The source at places of strands that count from the block's start, and its draw."""
        self._shuffle(strand)
        return self._source[strand, place], self._draw[strand, place]

    def place_of(self, source: int, strand: int, draw: int) -> int:
        """Where a draw of a source is, from the block's start."""
        self._shuffle(np.array([strand]))
        found = (self._source[strand] == source) & (self._draw[strand] == draw)
        return int(found.argmax())

    def _shuffle(self, strand: Ints) -> None:
        unknown = np.unique(strand[~self._is_known[strand]])
        if not len(unknown):
            return
        within, before = np.array(self.block.within), np.array(self.block.before)
        # The draws in the order of the sources, and then where each of them goes. One source's
        # keep their order: they are its first, second, third ... in the strand.
        source = np.repeat(np.arange(len(within)), within)
        draw = np.arange(len(source)) - np.repeat(np.cumsum(within) - within - before, within)
        hashes = keyed(keyed(self._key, unknown)[:, np.newaxis], np.arange(len(source)))
        drawn = source[_order(hashes)]
        in_order = _order(drawn.astype(np.uint64) << np.uint64(32))
        draws = np.empty_like(drawn)
        np.put_along_axis(draws, in_order, np.broadcast_to(draw, drawn.shape), axis=1)
        self._source[unknown], self._draw[unknown] = drawn, draws
        self._is_known[unknown] = True


def _order(values: Keys) -> Ints:
    """What puts each line of values in order, by their upper bits; equals stay in theirs.

    A value's low bits give way to its index: plain numbers are sorted four times faster than
    argsort does it.
    """
    bits = np.uint64(values.shape[1].bit_length())
    marked = (values >> bits << bits) | np.arange(values.shape[1], dtype=np.uint64)
    marked.sort(axis=1)
    return (marked & ((np.uint64(1) << bits) - np.uint64(1))).astype(np.int64)
