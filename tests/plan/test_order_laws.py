"""Laws of the order over random shapes: nothing lost, nothing twice, whoever reads and resumes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.errors import StateMismatch, UsageError
from millstream.plan import (
    Coverage,
    Cursor,
    Order,
    Plan,
    Selection,
    default_lanes,
    default_window,
    permute,
    restore,
    split,
    state,
    subsample,
    unpermute,
)

chunk_rows = st.lists(st.integers(1, 90), min_size=1, max_size=12).map(np.array)


@st.composite
def orders(draw: Callable[..., Any], *, shuffle: bool | None = None) -> Order:
    rows = draw(chunk_rows)
    selection = Selection.whole(rows)
    fraction = draw(st.sampled_from([1.0, 1.0, 0.4, 1.7, 3.0]))
    if fraction != 1.0 and round(fraction * selection.rows):
        selection = subsample(selection, fraction, seed=draw(st.integers(0, 5)))
    return Order(
        chunk_rows=rows,
        selection=selection,
        seed=draw(st.integers(0, 1 << 70)),
        shuffle=draw(st.booleans()) if shuffle is None else shuffle,
        window=draw(st.sampled_from([1, 2, 7, 64, 65, 100, 200, 10_000])),
        lanes=draw(st.integers(1, 9)),
    )


def selected(order: Order) -> np.ndarray:
    first = np.cumsum(order.chunk_rows) - order.chunk_rows
    s = order.selection
    spans = zip(first[s.chunk] + s.start, first[s.chunk] + s.stop, strict=True)
    return np.sort(np.concatenate([np.arange(a, b) for a, b in spans]))


def every(plan: Plan) -> np.ndarray:
    batches = [plan.batch(s, r) for s in range(plan.steps) for r in range(plan.ranks)]
    return np.concatenate([*batches, np.zeros(0, np.int64)])


@given(orders(), st.integers(0, 3))
def test_an_epoch_holds_each_selected_row_once(order: Order, number: int) -> None:
    rows = order.epoch(number).rows(np.arange(order.length))
    assert np.array_equal(np.sort(rows), selected(order))


@given(orders(), st.integers(0, 3))
def test_positions_invert_rows(order: Order, number: int) -> None:
    epoch = order.epoch(number)
    index, positions = epoch.positions(np.arange(order.chunk_rows.sum()))
    assert np.array_equal(epoch.rows(positions), index)
    assert np.array_equal(np.sort(positions), np.arange(order.length))


@given(orders(), st.integers(1, 7), st.integers(1, 6), st.booleans(), st.data())
def test_any_ranks_go_on_from_any_position(
    order: Order, batch: int, ranks: int, drop: bool, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, order.length))
    epoch = order.epoch(1)
    plan = Plan(epoch=epoch, batch_size=batch, ranks=ranks, drop_last=drop, start=start)
    read, left = every(plan), epoch.rows(np.arange(start, order.length))
    if drop:
        assert 0 <= len(left) - len(read) < batch * ranks
        left = left[: len(read)]
    assert np.array_equal(np.sort(read), np.sort(left))
    counts = [sum(len(plan.batch(s, r)) for s in range(plan.steps)) for r in range(ranks)]
    assert max(counts) - min(counts) <= 1
    assert len(read) == plan.after(plan.steps) - start


@given(orders(), st.integers(1, 5), st.integers(1, 5), st.data())
def test_later_global_batches_are_the_same_sets(
    order: Order, batch: int, ranks: int, data: st.DataObject
) -> None:
    whole = Plan(epoch=order.epoch(0), batch_size=batch * ranks, ranks=1, drop_last=False)
    done = data.draw(st.integers(0, whole.steps - 1))
    resumed = Plan(
        epoch=order.epoch(0),
        batch_size=batch,
        ranks=ranks,
        drop_last=False,
        start=whole.after(done),
    )
    for step in range(resumed.steps):
        parts = np.concatenate([resumed.batch(step, rank) for rank in range(ranks)])
        assert np.array_equal(np.sort(parts), np.sort(whole.batch(done + step, 0)))


@given(orders(), st.integers(1, 5), st.integers(1, 4), st.data())
def test_when_finds_what_batch_gives(
    order: Order, batch: int, ranks: int, data: st.DataObject
) -> None:
    plan = Plan(epoch=order.epoch(2), batch_size=batch, ranks=ranks, drop_last=False)
    step = data.draw(st.integers(0, plan.steps - 1))
    rank = data.draw(st.integers(0, ranks - 1))
    for position, row in zip(plan.positions(step, rank), plan.batch(step, rank), strict=True):
        places = {(w.position, w.step, w.rank) for w in plan.when(int(row))}
        assert (int(position), step, rank) in places


@given(orders(shuffle=True), st.integers(1, 8))
def test_a_rank_stays_in_its_lanes_if_ranks_divide_lanes(order: Order, ranks: int) -> None:
    if order.lanes % ranks:
        ranks = 1
    plan = Plan(epoch=order.epoch(0), batch_size=3, ranks=ranks, drop_last=False)
    for rank in range(ranks):
        positions = [plan.positions(step, rank) for step in range(plan.steps)]
        lanes = set((np.concatenate([*positions, np.zeros(0, np.int64)]) % order.lanes).tolist())
        assert lanes <= set(range(rank, order.lanes, ranks))


@given(chunk_rows, st.integers(0, 9))
def test_unshuffled_on_one_lane_is_the_order_of_the_rows(rows: np.ndarray, epoch: int) -> None:
    order = Order(
        chunk_rows=rows,
        selection=Selection.whole(rows),
        seed=1,
        shuffle=False,
        window=5,
        lanes=default_lanes(shuffle=False, chunks=len(rows), ranks=40),
    )
    assert np.array_equal(order.epoch(epoch).rows(np.arange(order.length)), np.arange(rows.sum()))


@given(st.integers(1, 3_000), st.integers(0, 2**64 - 1))
def test_permute_is_a_bijection(size: int, key: int) -> None:
    index, keys = np.arange(size), np.uint64(key)
    there = permute(index, np.int64(size), keys)
    assert np.array_equal(np.sort(there), index)
    assert np.array_equal(unpermute(there, np.int64(size), keys), index)


@pytest.mark.parametrize("size", [2, 3, 4])
def test_small_permutations_are_all_about_as_frequent(size: int) -> None:
    keys, count = np.arange(6_000, dtype=np.uint64), {2: 2, 3: 6, 4: 24}[size]
    columns = [permute(np.int64(i), np.int64(size), keys) for i in range(size)]
    found, times = np.unique(np.stack(columns, axis=1), axis=0, return_counts=True)
    assert len(found) == count
    # Five standard deviations of a fair draw.
    assert np.abs(times - 6_000 / count).max() < 5 * (6_000 / count) ** 0.5


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    rows = np.full(40, 50)

    def order(seed: int, epoch: int) -> np.ndarray:
        made = Order(
            chunk_rows=rows,
            selection=Selection.whole(rows),
            seed=seed,
            shuffle=True,
            window=400,
            lanes=4,
        )
        return made.epoch(epoch).rows(np.arange(2_000))

    some = [order(seed, epoch) for seed, epoch in [(1, 0), (1, 1), (2, 0), (0, 2), (3, 0)]]
    for i, one in enumerate(some):
        for other in some[:i]:
            # Two random orders agree at about one place; seed + epoch must not collide.
            assert (one == other).sum() < 12
            # Three standard deviations for 40 chunks laid end to end at random.
            assert abs(np.corrcoef(one, other)[0, 1]) < 3 / 40**0.5


@given(chunk_rows, st.lists(st.floats(0.01, 1), min_size=1, max_size=4), st.integers(0, 9))
def test_split_parts_are_disjoint_and_exact(
    rows: np.ndarray, weights: list[float], seed: int
) -> None:
    fractions = [weight / sum(weights) for weight in weights]
    parts = split(Selection.whole(rows), fractions, seed=seed)
    total = int(rows.sum())
    assert all(abs(p.rows - f * total) < 1 for p, f in zip(parts, fractions, strict=True))
    found = []
    for part in parts:
        if part.rows:
            order = Order(chunk_rows=rows, selection=part, seed=0, shuffle=False, window=1, lanes=1)
            found.append(selected(order))
    assert np.array_equal(np.sort(np.concatenate(found)), np.arange(total))


def test_a_split_of_sorted_data_is_representative() -> None:
    rows = np.full(10, 1_000)
    part = split(Selection.whole(rows), [0.1], seed=0)[0]
    per_chunk = np.bincount(part.chunk, part.stop - part.start, 10)
    assert part.rows == 1_000
    assert per_chunk.min() > 60


@given(orders(), st.integers(1, 6), st.integers(1, 4), st.data())
def test_coverage_sees_a_lost_and_a_doubled_row(
    order: Order, batch: int, ranks: int, data: st.DataObject
) -> None:
    plan = Plan(epoch=order.epoch(0), batch_size=batch, ranks=ranks, drop_last=False)
    read = Coverage()
    for step in range(plan.steps):
        for rank in range(ranks):
            read += Coverage.of(plan.positions(step, rank), plan.batch(step, rank))
    assert read == plan.coverage(0, plan.steps)
    assert Coverage.from_json(read.to_json()) == read
    position = np.array([data.draw(st.integers(0, order.length - 1))])
    one = Coverage.of(position, plan.epoch.rows(position))
    assert read - one != read
    assert read + one != read
    assert read - one + Coverage.of(position, plan.epoch.rows(position) + 1) != read


@given(orders(), st.integers(0, 9), st.integers(0, 99))
def test_a_state_comes_back_and_names_what_differs(order: Order, epoch: int, at: int) -> None:
    cursor = Cursor(epoch=epoch, position=at)
    saved = state(cursor, order.settings(), "v" * 64)
    assert restore(saved, order.settings(), "v" * 64) == cursor
    for name, word in [("seed", "seed"), ("lanes", "lanes"), ("window", "shuffle_window")]:
        with pytest.raises(StateMismatch, match=word):
            restore(saved, {**order.settings(), name: -1}, "v" * 64)
    with pytest.raises(StateMismatch, match="version"):
        restore(saved, order.settings(), "w" * 64)


@pytest.mark.parametrize("saved", [None, {}, 7, {"format": 1}, {"format": 2, "epoch": 0}])
def test_what_is_no_state_is_refused(saved: Any) -> None:
    with pytest.raises(UsageError):
        restore(saved, {}, "v")


def test_defaults() -> None:
    assert default_lanes(shuffle=True, chunks=3, ranks=1) == 3
    assert default_lanes(shuffle=True, chunks=99, ranks=16) == 16
    assert default_lanes(shuffle=True, chunks=99, ranks=40) == 40
    rows = np.full(100, 700)
    window = {"chunk_rows": rows, "lanes": 16, "bytes_per_row": 93_000}
    assert default_window(**window, budget_bytes=10**15) == 65_536
    assert default_window(**window, budget_bytes=10**11) == int(5e10 / 32 / 93_000)
