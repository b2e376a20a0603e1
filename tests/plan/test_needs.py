"""When a rank needs which chunk: no row comes outside the time that was foreseen for its chunk."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from shapes import orders, whole_order

from millstream.plan import Order


@given(orders(), st.integers(0, 2), st.integers(1, 7), st.data())
def test_every_row_comes_when_its_chunk_is_needed(
    order: Order, number: int, ranks: int, data: st.DataObject
) -> None:
    rank = data.draw(st.integers(0, ranks - 1))
    epoch = order.epoch(number)
    needs = epoch.needs(rank, ranks)
    assert np.array_equal(needs.first, np.sort(needs.first))
    assert len(needs.chunk) <= len(order.selection.chunk) + order.lanes
    positions = np.arange(rank, order.length, ranks)
    chunks = np.searchsorted(np.cumsum(order.chunk_rows), epoch.rows(positions), side="right")
    for position, chunk in zip(positions.tolist(), chunks.tolist(), strict=True):
        there = (needs.first <= position) & (position <= needs.last) & (needs.chunk == chunk)
        assert there.any()
    # On one rank nothing is foreseen that is not read.
    if ranks == 1:
        assert set(needs.chunk.tolist()) == set(chunks.tolist())
        for chunk, first, last in zip(needs.chunk, needs.first, needs.last, strict=True):
            read = positions[(chunks == chunk) & (positions % order.lanes == first % order.lanes)]
            assert first <= read.max()
            assert last >= read.min()


def test_not_shuffled_it_is_exact() -> None:
    order = whole_order(np.array([3, 4, 2]), shuffle=False)
    needs = order.epoch(0).needs(0, 1)
    found = [needs.chunk.tolist(), needs.first.tolist(), needs.last.tolist()]
    assert found == [[0, 1, 2], [0, 3, 7], [2, 6, 8]]


def test_a_rank_needs_its_own_lanes_only() -> None:
    order = whole_order(np.full(40, 25), lanes=8, window=50)
    for ranks in (1, 2, 4, 8):
        parts = [order.epoch(1).needs(rank, ranks) for rank in range(ranks)]
        for rank, part in enumerate(parts):
            assert set((part.first % 8 % ranks).tolist()) == {rank}
        assert sum(len(part.chunk) for part in parts) == len(order.epoch(1).needs(0, 1).chunk)


def test_the_first_batch_needs_one_chunk_a_lane() -> None:
    order = whole_order(np.full(1_000, 64), lanes=16, window=8 * 64)
    needs = order.epoch(0).needs(0, 1)
    assert (needs.first < 16).sum() <= 2 * 16  # a window may begin near the end of a chunk
