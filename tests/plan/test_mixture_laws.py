"""Laws of mixtures: each source once, in its own order, in exact proportions, whoever reads."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mixtures import mixtures, plain
from shapes import read_by

from millstream.errors import RowOutOfRange, UsageError
from millstream.plan import Coverage, Group, MixedEpoch, Mixture, Plan, When
from millstream.plan.schedule import BLOCK

batch_sizes = st.integers(20, 70)
some_ranks = st.integers(1, 6) | st.just(50)


def drawn(epoch: MixedEpoch) -> tuple[np.ndarray, np.ndarray]:
    return epoch.drawn(np.arange(epoch.length))


@given(mixtures(), st.integers(0, 3))
def test_each_source_is_read_as_a_prefix_of_its_own_order(mixture: Mixture, number: int) -> None:
    epoch = mixture.epoch(number)
    source, at = drawn(epoch)
    rows = epoch.rows(np.arange(epoch.length))
    of, row = mixture.split(rows)
    assert np.array_equal(of, source)
    for n, order in enumerate(mixture.sources):
        assert np.array_equal(np.sort(at[source == n]), np.arange(mixture.used[n]))
        assert np.array_equal(row[source == n], order.epoch(number).rows(at[source == n]))
        assert mixture.left_out[n] == order.length - mixture.used[n] >= 0


@given(mixtures(until_all=True, stratified=True))
def test_until_all_reads_all_rows_once(mixture: Mixture) -> None:
    assert mixture.left_out == (0,) * len(mixture.sources)


@given(mixtures(until_all=True, stratified=False))
def test_batches_of_one_source_leave_out_less_than_one_of_each(mixture: Mixture) -> None:
    assert mixture.global_batch is not None
    assert max(mixture.left_out) < mixture.global_batch
    source, at = drawn(mixture.epoch(0))
    batches = source.reshape(-1, mixture.global_batch)
    assert (batches == batches[:, :1]).all()
    first = at.reshape(-1, mixture.global_batch)
    assert (first == first[:, :1] + np.arange(mixture.global_batch)).all()


@given(mixtures(stratified=True))
def test_a_strand_draws_a_source_in_the_order_of_its_lane(mixture: Mixture) -> None:
    source, at = drawn(mixture.epoch(0))
    width, regular = mixture.width, mixture.width * mixture.parts[0].length
    for strand in range(width):
        here = slice(strand, regular, width)
        for n in range(len(mixture.sources)):
            mine = at[here][source[here] == n]
            assert np.array_equal(mine, np.arange(len(mine)) * width + strand)


@given(
    st.lists(st.integers(1, 3_000), min_size=1, max_size=5),
    st.lists(st.floats(1e-5, 10), min_size=5, max_size=5),
    st.integers(1, 4),
)
def test_at_every_border_a_source_has_its_share_within_a_draw(
    sizes: list[int], weights: list[float], lanes: int
) -> None:
    weights = weights[: len(sizes)]
    mixture = plain(tuple(sizes), tuple(weights), until_all=False, lanes=lanes)
    source, _ = drawn(mixture.epoch(0))
    schedule = mixture.parts[0]
    at = 0
    while at < schedule.length:
        block = schedule.block_at(at)
        clock = min(block.number * BLOCK, schedule.length)
        for strand in range(lanes):
            before = source[strand : block.start * lanes : lanes]
            assert np.bincount(before, minlength=len(sizes)).tolist() == list(block.before)
        for count, weight in zip(block.before, weights, strict=True):
            assert abs(count - clock * weight / sum(weights)) <= 0.5 + 1e-6
        assert abs(block.start - clock) <= len(sizes) / 2
        at = block.stop


@given(st.integers(1, 2_000), st.integers(1, 2_000), st.integers(1, 9))
def test_without_until_all_it_ends_with_the_first_that_ends(a: int, b: int, lanes: int) -> None:
    mixture = plain((a, b), (1, 1), until_all=False, lanes=lanes)
    assert min(a, b) in mixture.used
    assert abs(mixture.used[0] - mixture.used[1]) <= 1


def test_who_has_ended_leaves_the_others_their_proportions() -> None:
    mixture = plain((20_000, 20_000, 1_000), (2, 1, 1), lanes=4)
    source, _ = drawn(mixture.epoch(0))
    end = int(np.flatnonzero(source == 2)[-1])
    assert end < 4_000 + 4 * BLOCK
    rest = np.bincount(source[end + 4 * BLOCK :][:12_000])
    assert abs(rest[0] - 8_000) < 200
    assert mixture.used == (20_000, 20_000, 1_000)


def test_what_has_no_weight_comes_last_or_never() -> None:
    source, _ = drawn(plain((300, 200), (1, 0)).epoch(0))
    assert source.tolist() == [0] * 300 + [1] * 200
    assert plain((300, 200), (1, 0), until_all=False).used == (300, 0)


def test_a_curriculum_is_asked_at_borders() -> None:
    asked = []

    def weights(position: int) -> tuple[float, float]:
        asked.append(position)
        return (1, 0) if position < 3_000 else (0, 1)

    mixture = plain((50_000, 50_000), weights, until_all=False, lanes=3)
    source, _ = drawn(mixture.epoch(0))
    change = int(np.flatnonzero(source)[0])
    assert 3_000 <= change < 3_000 + 3 * BLOCK
    assert source[change:].all()
    assert set(asked) <= {3 * BLOCK * n for n in range(300)} | {mixture.length - 2, mixture.length}


def test_a_group_in_a_group_ends_as_it_says() -> None:
    def mixture(inner: bool) -> Mixture:
        some = plain((100, 1_000, 1_000), lanes=1).sources
        within = Group(members=(0, 1), weights=(1, 1), until_all=inner)
        tree = Group(members=(within, 2), weights=(1, 1), until_all=True)
        return Mixture(sources=some, tree=tree, seed=1)

    assert mixture(True).used == (100, 1_000, 1_000)
    assert mixture(False).used == (100, 100, 1_000)
    source, _ = drawn(mixture(True).epoch(0))
    # A quarter each, and a half; then the inner group's half is its other member's.
    assert abs(int((source[:400] == 2).sum()) - 200) < 40
    assert abs(int((source[600:1_200] == 1).sum()) - 300) < 40


def test_groups_are_weighted_by_their_size() -> None:
    some = plain((100, 300, 800)).sources
    within = Group(members=(0, 1), weights=(1, 1), until_all=False)
    mixture = Mixture(
        sources=some, tree=Group(members=(within, 2), weights=None, until_all=False), seed=1
    )
    assert mixture.used == (100, 100, 800)


@given(mixtures(), batch_sizes, some_ranks, st.booleans(), st.data())
def test_any_ranks_go_on_from_any_position(
    mixture: Mixture, batch: int, ranks: int, drop: bool, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, mixture.length))
    epoch = mixture.epoch(1)
    plan = Plan(epoch=epoch, batch_size=batch, ranks=ranks, drop_last=drop, start=start)
    left = epoch.rows(np.arange(start, mixture.length))
    read = np.concatenate([read_by(plan, rank) for rank in range(ranks)])
    assert Counter(read.tolist()) == Counter(left[: len(read)].tolist())
    assert len(left) - len(read) < batch * ranks if drop else len(left) == len(read)


@given(mixtures(), st.data())
def test_positions_are_the_inverse_of_rows(mixture: Mixture, data: st.DataObject) -> None:
    epoch = mixture.epoch(2)
    rows = epoch.rows(np.arange(epoch.length))
    total = int(mixture.first_rows[-1])
    some = np.array(data.draw(st.lists(st.integers(0, total - 1), max_size=8)), np.int64)
    index, position = epoch.positions(some)
    found = sorted(zip(index.tolist(), position.tolist(), strict=True))
    assert found == [(i, p) for i, row in enumerate(some) for p in np.flatnonzero(rows == row)]


@given(mixtures(), st.data())
def test_counts_are_those_of_what_came_before(mixture: Mixture, data: st.DataObject) -> None:
    epoch = mixture.epoch(0)
    position = data.draw(st.integers(0, epoch.length))
    source, _ = drawn(epoch)
    counted = np.bincount(source[:position], minlength=len(mixture.sources))
    assert epoch.counts(position) == counted.tolist()


@given(mixtures(stratified=True), st.integers(1, 4), st.data())
def test_needs_hold_what_a_rank_reads_when_it_does(
    mixture: Mixture, ranks: int, data: st.DataObject
) -> None:
    rank = data.draw(st.integers(0, ranks - 1))
    epoch = mixture.epoch(0)
    positions = np.arange(rank, mixture.width * mixture.parts[0].length, ranks)
    source, row = mixture.split(epoch.rows(positions))
    for number, order in enumerate(mixture.sources):
        needs = epoch.needs(number, rank, ranks)
        ends = np.cumsum(order.chunk_rows)
        for at, r in zip(positions[source == number], row[source == number], strict=True):
            mine = needs.chunk == np.searchsorted(ends, r, side="right")
            assert (mine & (needs.first <= at) & (at <= needs.last)).any()


def test_needs_of_a_long_mixture_are_near() -> None:
    mixture = plain((30_000, 10_000, 2_000), (3, 1, 2), lanes=2)
    epoch = mixture.epoch(0)
    source, at = drawn(epoch)
    for number in range(3):
        needs = epoch.needs(number, 0, 1)
        read = epoch.sources[number].rows(at[source == number])
        for chunk in np.unique(read // 100).tolist():
            mine = needs.chunk == chunk
            positions = np.flatnonzero(source == number)[read // 100 == chunk]
            assert needs.first[mine].min() <= positions[0]
            assert positions[-1] <= needs.last[mine].max()
    assert (needs.last - needs.first).max() < 2 * (6 * 200 + 4 * BLOCK)


@given(mixtures(), batch_sizes, st.integers(1, 3))
def test_coverage_and_when_are_those_of_plans(mixture: Mixture, batch: int, ranks: int) -> None:
    plan = Plan(epoch=mixture.epoch(0), batch_size=batch, ranks=ranks, drop_last=False)
    read = Coverage()
    for step in range(plan.steps):
        for rank in range(ranks):
            read += Coverage.of(plan.positions(step, rank), plan.batch(step, rank))
    assert read == plan.coverage(0, plan.steps)
    if plan.steps:
        row = int(plan.batch(0, 0)[0])
        assert plan.when(row)[0] == When(position=0, step=0, rank=0)


def test_epochs_lanes_and_seeds_are_shuffled_apart() -> None:
    def first(epoch: int = 0, **options: int) -> list[int]:
        return drawn(plain((900, 900), (1, 1), **options).epoch(epoch))[0].tolist()

    assert first() == first()
    assert first() != first(epoch=1)
    assert first() != first(seed=6)
    both = np.array(first(lanes=2)).reshape(-1, 2)
    assert both[:, 0].tolist() != both[:, 1].tolist()


def test_an_epoch_keeps_a_few_blocks() -> None:
    mixture = plain((1_000_000, 1_000), None)
    assert mixture.length == 1_001_000
    epoch = mixture.epoch(0)
    epoch.rows(np.arange(500_000, 500_256))
    drawing = epoch._parts[0].drawing
    assert len(drawing._kept) <= 2
    list(map(epoch.rows, np.arange(0, 100_000, 500).reshape(-1, 1)))
    assert len(drawing._kept) <= 4


@pytest.mark.parametrize(
    "bad",
    [
        {"weights": (1,)}, {"weights": (1, 2, 3)}, {"weights": (0, 0)}, {"weights": (-1, 2)},
        {"weights": (float("nan"), 1)}, {"weights": (float("inf"), 1)},
        {"weights": lambda position: (1,)}, {"weights": lambda position: None},
        {"weights": lambda position: (0, 0)}, {"global_batch": 0}, {"global_batch": 301},
    ],
)  # fmt: skip
def test_what_makes_no_mixture_is_refused(bad: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        _ = plain((300, 200), **bad).length  # type: ignore[arg-type]


def test_sources_are_each_named_once_and_have_the_same_lanes() -> None:
    one, two = plain((5, 6)).sources
    for members in [(0,), (0, 0), (0, 1, 1), (1, 2)]:
        with pytest.raises(UsageError, match="once"):
            Mixture(
                sources=(one, two),
                tree=Group(members=members, weights=None, until_all=True),
                seed=1,
            )
    with pytest.raises(UsageError, match="lanes"):
        Mixture(
            sources=(one, plain((5,), lanes=2).sources[0]),
            tree=Group(members=(0, 1), weights=None, until_all=True),
            seed=1,
        )
    with pytest.raises(UsageError, match="at least one"):
        Group(members=(), weights=None, until_all=True)


def test_positions_and_rows_outside_are_refused() -> None:
    epoch = plain((5, 6)).epoch(0)
    for position in (-1, 11):
        with pytest.raises(UsageError):
            epoch.rows(np.array([position]))
        with pytest.raises(RowOutOfRange):
            epoch.positions(np.array([position]))
