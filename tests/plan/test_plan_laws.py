"""Laws of the division among ranks: nothing lost, nothing twice, whoever reads and resumes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapes import chunk_rows, orders, read_by, whole_order

from millstream.errors import RowOutOfRange, UsageError
from millstream.plan import Coverage, Order, Plan, StepRows, When

batch_sizes = st.integers(1, 7)
some_ranks = st.integers(1, 6) | st.just(300)  # often more ranks than rows


@given(orders(), batch_sizes, some_ranks, st.booleans(), st.data())
def test_any_ranks_go_on_from_any_position(
    order: Order, batch: int, ranks: int, drop: bool, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, order.length))
    epoch = order.epoch(1)
    plan = Plan(epoch=epoch, batch_size=batch, ranks=ranks, drop_last=drop, start=start)
    left = epoch.rows(np.arange(start, order.length))
    shares = [read_by(plan, rank) for rank in range(ranks)]
    read = np.concatenate(shares)
    if drop:
        assert 0 <= len(left) - len(read) < batch * ranks
        assert all(len(share) == plan.steps * batch for share in shares)
    assert np.array_equal(np.sort(read), np.sort(left[: len(read)]))
    assert len(read) == plan.after(plan.steps) - start
    assert drop or len(read) == len(left)
    counts = [len(share) for share in shares]
    assert max(counts) - min(counts) <= 1


@given(chunk_rows, st.lists(st.tuples(batch_sizes, some_ranks, st.integers(1, 5)), max_size=6))
def test_a_run_that_changes_shape_again_and_again_reads_every_row_once(
    rows: np.ndarray, shapes: list[tuple[int, int, int]]
) -> None:
    epoch = whole_order(rows, lanes=3).epoch(0)
    read, at = [], 0
    for batch, ranks, steps in [*shapes, (3, 2, epoch.length)]:
        plan = Plan(epoch=epoch, batch_size=batch, ranks=ranks, drop_last=False, start=at)
        done = min(steps, plan.steps)
        read += [plan.batch(step, rank) for step in range(done) for rank in range(ranks)]
        at = plan.after(done)
    assert np.array_equal(
        np.sort(np.concatenate([*read, np.zeros(0, np.int64)])), np.arange(rows.sum())
    )


@given(orders(), st.integers(1, 5), st.integers(1, 5), st.data())
def test_later_global_batches_are_the_same_sets(
    order: Order, batch: int, ranks: int, data: st.DataObject
) -> None:
    epoch = order.epoch(0)
    whole = Plan(epoch=epoch, batch_size=batch * ranks, ranks=1, drop_last=False)
    done = data.draw(st.integers(0, whole.steps))
    start = whole.after(done)
    resumed = Plan(epoch=epoch, batch_size=batch, ranks=ranks, drop_last=False, start=start)
    assert resumed.steps == whole.steps - done
    for step in range(resumed.steps):
        parts = np.concatenate([resumed.batch(step, rank) for rank in range(ranks)])
        assert np.array_equal(np.sort(parts), np.sort(whole.batch(done + step, 0)))


@given(orders(), batch_sizes, some_ranks, st.booleans(), st.data())
def test_when_is_the_inverse_of_batch(
    order: Order, batch: int, ranks: int, drop: bool, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, order.length))
    plan = Plan(epoch=order.epoch(2), batch_size=batch, ranks=ranks, drop_last=drop, start=start)
    expected: dict[int, list[When]] = {row: [] for row in range(int(order.chunk_rows.sum()))}
    for step in range(plan.steps):
        for rank in range(ranks):
            positions = plan.positions(step, rank).tolist()
            for position, row in zip(positions, plan.batch(step, rank).tolist(), strict=True):
                expected[row].append(When(position=position, step=step, rank=rank))
    some = data.draw(st.lists(st.sampled_from([*expected]), max_size=5)) if expected else []
    for row in some:
        found = plan.when(row)
        in_order = sorted(expected[row], key=lambda when: when.position)
        assert [when for when in found if when.step is not None] == in_order
        for left_out in found[len(in_order) :]:
            assert drop
            assert left_out.position >= plan.after(plan.steps)
            assert plan.epoch.rows(np.array([left_out.position])).tolist() == [row]


@given(orders(shuffle=True), st.sampled_from([1, 2, 3, 4, 6, 8, 12, 24]), batch_sizes)
def test_a_rank_stays_in_its_lanes_if_ranks_divide_lanes(
    order: Order, ranks: int, batch: int
) -> None:
    L = 24
    rows, selection = order.chunk_rows, order.selection
    order = Order(chunk_rows=rows, selection=selection, seed=1, shuffle=True, window=99, lanes=L)
    plan = Plan(epoch=order.epoch(0), batch_size=batch, ranks=ranks, drop_last=False)
    for rank in range(ranks):
        for step in range(plan.steps):
            lanes = set((plan.positions(step, rank) % L).tolist())
            assert lanes <= set(range(rank, L, ranks))


@given(chunk_rows, st.integers(1, 6), batch_sizes)
def test_unshuffled_rank_r_reads_r_and_every_ranks_th_row_after(
    rows: np.ndarray, ranks: int, batch: int
) -> None:
    epoch = whole_order(rows, shuffle=False).epoch(5)
    plan = Plan(epoch=epoch, batch_size=batch, ranks=ranks, drop_last=False)
    for rank in range(ranks):
        assert read_by(plan, rank).tolist() == list(range(rank, int(rows.sum()), ranks))


@given(orders(), batch_sizes, some_ranks, st.data())
def test_coverage_is_that_of_what_was_read(
    order: Order, batch: int, ranks: int, data: st.DataObject
) -> None:
    plan = Plan(epoch=order.epoch(0), batch_size=batch, ranks=ranks, drop_last=False)
    first = data.draw(st.integers(0, plan.steps))
    last = data.draw(st.integers(first, plan.steps))
    read = Coverage()
    for step in range(first, last):
        for rank in range(ranks):
            read = Coverage.of(plan.positions(step, rank), plan.batch(step, rank)) + read
    assert read == plan.coverage(first, last)
    assert read == plan.coverage(0, last) - plan.coverage(0, first)
    assert Coverage.from_json(read.to_json()) == read


@given(orders(), st.data())
def test_coverage_sees_a_lost_a_doubled_a_wrong_and_a_swapped_row(
    order: Order, data: st.DataObject
) -> None:
    rows = order.epoch(0).rows(np.arange(order.length))
    positions = np.arange(order.length)
    if order.length == 0:
        return
    right = Coverage.of(positions, rows)
    at = data.draw(st.integers(0, order.length - 1))
    one = Coverage.of(positions[at : at + 1], rows[at : at + 1])
    assert Coverage.of(np.delete(positions, at), np.delete(rows, at)) == right - one != right
    assert Coverage.of(np.append(positions, at), np.append(rows, rows[at])) == right + one != right
    wrong, swapped = rows.copy(), rows.copy()
    wrong[at] += 1
    assert Coverage.of(positions, wrong) != right
    swapped[[0, at]] = swapped[[at, 0]]
    assert (Coverage.of(positions, swapped) == right) == (rows[0] == rows[at])
    # One lost and another doubled: the count is right, the sum is not.
    doubled = rows.copy()
    doubled[at] = rows[0]
    assert (Coverage.of(positions, doubled) == right) == (rows[0] == rows[at])


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40), st.integers(0, 40))
def test_coverage_of_a_pair_is_its_own(p: int, r: int, q: int, s: int) -> None:
    one, other = (
        Coverage.of(np.array([p]), np.array([r])),
        Coverage.of(np.array([q]), np.array([s])),
    )
    assert (one == other) == ((p, r) == (q, s))
    swapped = Coverage.of(np.array([p, q]), np.array([s, r]))
    assert (swapped == one + other) == (p == q or r == s)


def test_coverage_sums_exactly_over_blocks() -> None:
    order = whole_order(np.full(7, 20_011), lanes=4, window=1_000)
    plan = Plan(epoch=order.epoch(0), batch_size=1_000, ranks=1, drop_last=False)
    positions = np.arange(order.length)
    whole = Coverage.of(positions, order.epoch(0).rows(positions))
    assert plan.coverage(0, plan.steps) == whole
    assert whole.total > 1 << 100
    assert Coverage() - whole + whole == Coverage()


@pytest.mark.parametrize(
    "value",
    [
        {}, {"count": 1}, {"count": "1", "total": "0" * 32}, {"count": True, "total": "0" * 32},
        {"count": 1, "total": 5}, {"count": 1, "total": "0" * 33}, {"count": 1, "total": "-" * 32},
        {"count": 1.0, "total": "0" * 32}, {"count": 1, "total": "0x" + "0" * 30}, None, [1, 2],
    ],
)  # fmt: skip
def test_what_is_no_coverage_is_refused(value: Any) -> None:
    with pytest.raises(UsageError):
        Coverage.from_json(value)


def test_rows_and_positions_of_a_coverage_match() -> None:
    with pytest.raises(UsageError):
        Coverage.of(np.arange(3), np.arange(1))


@pytest.mark.parametrize(
    "bad",
    [{"batch_size": 0}, {"ranks": 0}, {"start": -1}, {"start": 11}, {"ranks": -2}],
)
def test_a_plan_is_valid_from_birth(bad: dict[str, int]) -> None:
    epoch = whole_order(np.array([4, 6])).epoch(0)
    with pytest.raises(UsageError):
        Plan(**{"epoch": epoch, "batch_size": 2, "ranks": 2, "drop_last": False, **bad})


def test_steps_and_ranks_outside_are_refused() -> None:
    epoch = whole_order(np.array([4, 6])).epoch(0)
    plan = Plan(epoch=epoch, batch_size=2, ranks=2, drop_last=True)
    assert plan.steps == 2
    for step, rank in [(2, 0), (-1, 0), (0, 2), (0, -1)]:
        with pytest.raises(UsageError):
            plan.batch(step, rank)
    for step in (-1, 3):
        with pytest.raises(UsageError):
            plan.after(step)
        with pytest.raises(UsageError):
            plan.coverage(0, step)
    for row in (-1, 10):
        with pytest.raises(RowOutOfRange):
            plan.when(row)


@given(orders(), batch_sizes, st.integers(1, 4), st.integers(1, 4), st.data())
def test_rows_of_many_steps_at_a_time_are_those_of_each(
    order: Order, batch: int, ranks: int, workers: int, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, order.length))
    plan = Plan(epoch=order.epoch(2), batch_size=batch, ranks=ranks, drop_last=False, start=start)
    rank = data.draw(st.integers(0, ranks - 1))
    rows_of, turn = StepRows(plan, rank, workers), 1
    step = data.draw(st.integers(0, 3))
    while step < plan.steps:
        turn = data.draw(st.sampled_from([turn, turn, 1, 3]))
        for some in range(step, min(step + turn, plan.steps)):
            assert np.array_equal(rows_of(some, turn), plan.batch(some, rank))
        step += turn * workers
