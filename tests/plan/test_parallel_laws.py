"""Laws of orders side by side: each source goes through its epochs, whoever reads them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mixtures import plain, sources

from millstream.errors import RowOutOfRange, UsageError
from millstream.plan import ENDLESS, Coverage, Order, Plan, SideBySide, SideBySideEpoch, shortest

lengths = st.integers(1, 300)


def source_rows(epoch: SideBySideEpoch, source: int, positions: np.ndarray) -> np.ndarray:
    """The rows of a source at positions."""
    rows = np.empty_like(positions)
    for stretch in epoch.stretches(source, positions):
        rows[stretch.here] = epoch.source_epoch(source, stretch.epoch).rows(stretch.at)
    return rows


def read(order: SideBySide, source: int, epochs: int) -> np.ndarray:
    """What a source gives in so many epochs."""
    positions = np.arange(order.length)
    return np.concatenate([source_rows(order.epoch(n), source, positions) for n in range(epochs)])


def own(source: Order, first: int, count: int) -> np.ndarray:
    """The rows of a source's own epochs, one after another, from an epoch on."""
    epochs = range(first, first + count // source.length + 1)
    return np.concatenate([source.epoch(n).rows(np.arange(source.length)) for n in epochs])[:count]


@given(sources(), lengths)
def test_a_source_that_goes_on_comes_in_its_own_epochs(some: tuple[Order, ...], n: int) -> None:
    order = SideBySide(sources=some, length=n, goes_on=True)
    for number, source in enumerate(some):
        assert np.array_equal(read(order, number, 3), own(source, 0, 3 * n))


@given(sources(), lengths, st.integers(0, 3))
def test_a_source_that_begins_anew_has_epochs_of_its_own(
    some: tuple[Order, ...], n: int, epoch: int
) -> None:
    order = SideBySide(sources=some, length=n, goes_on=False)
    for number, source in enumerate(some):
        first = epoch * -(-n // source.length)
        rows = source_rows(order.epoch(epoch), number, np.arange(n))
        assert np.array_equal(rows, own(source, first, n))


@given(sources())
def test_the_shortest_comes_once(some: tuple[Order, ...]) -> None:
    order = SideBySide(sources=some, length=shortest(some), goes_on=False)
    number = min(range(len(some)), key=lambda n: some[n].length)
    for epoch in (0, 4):
        rows = source_rows(order.epoch(epoch), number, np.arange(order.length))
        assert np.array_equal(rows, own(some[number], epoch, order.length))


@given(sources(), lengths, st.booleans(), st.integers(0, 5), st.data())
def test_a_place_is_found_without_what_came_before(
    some: tuple[Order, ...], n: int, goes_on: bool, number: int, data: st.DataObject
) -> None:
    epoch = SideBySide(sources=some, length=n, goes_on=goes_on).epoch(number)
    position = data.draw(st.integers(0, n - 1))
    for source, order in enumerate(some):
        turn, at = epoch.place(source, position)
        (stretch,) = epoch.stretches(source, np.array([position]))
        assert (stretch.epoch, stretch.at.tolist(), stretch.here.tolist()) == (turn, [at], [0])
        rows = source_rows(epoch, source, np.array([position]))
        assert np.array_equal(rows, order.epoch(turn).rows(np.array([at])))


def test_an_epoch_without_end_goes_on_for_ever() -> None:
    some = plain((7, 30), lanes=2).sources
    order = SideBySide(sources=some, length=ENDLESS, goes_on=True)
    far = np.array([10**15])
    for number, source in enumerate(some):
        expected = source.epoch(10**15 // source.length).rows(far % source.length)
        assert np.array_equal(source_rows(order.epoch(0), number, far), expected)
    assert not np.array_equal(
        source_rows(order.epoch(1), 1, np.arange(30)), source_rows(order.epoch(0), 1, np.arange(30))
    )


@given(sources(), lengths, st.integers(1, 9), st.integers(1, 4))
def test_plans_divide_it_like_any_order(
    some: tuple[Order, ...], n: int, batch: int, ranks: int
) -> None:
    epoch = SideBySide(sources=some, length=n, goes_on=True).epoch(0)
    plan = Plan(epoch=epoch, batch_size=batch, ranks=ranks, drop_last=False)
    read = Coverage()
    for step in range(plan.steps):
        for rank in range(ranks):
            read += Coverage.of(plan.positions(step, rank), plan.batch(step, rank))
    assert read == plan.coverage(0, plan.steps) == Coverage.of(np.arange(n), np.arange(n))
    assert [when.position for when in plan.when(n - 1)] == [n - 1]


def test_settings_tell_each_dataset() -> None:
    some = plain((7, 30)).sources
    settings = SideBySide(sources=some, length=9, goes_on=True).settings()
    assert settings == {
        "length": 9,
        "resume": True,
        "datasets": [
            {"digest": "b16ded6360793eb2", "lanes": 1, "window": 100},
            {"digest": "1a7ce6657994b463", "lanes": 1, "window": 100},
        ],
    }


def test_an_epoch_keeps_two_epochs_of_a_source_at_most() -> None:
    epoch = SideBySide(sources=plain((3, 5)).sources, length=1_000, goes_on=True).epoch(0)
    for position in range(0, 1_000, 7):
        for source in range(2):
            source_rows(epoch, source, np.array([position]))
    assert len(epoch._epochs) <= 4


@pytest.mark.parametrize("bad", [{"length": 0}, {"length": ENDLESS + 1}, {"sources": ()}])
def test_what_makes_no_order_is_refused(bad: dict[str, object]) -> None:
    arguments = {"sources": plain((7, 30)).sources, "length": 9, "goes_on": True, **bad}
    with pytest.raises(UsageError):
        SideBySide(**arguments)  # type: ignore[arg-type]


def test_positions_and_rows_outside_are_refused() -> None:
    epoch = SideBySide(sources=plain((7, 30)).sources, length=9, goes_on=True).epoch(0)
    for position in (-1, 9):
        with pytest.raises(UsageError):
            epoch.rows(np.array([position]))
        with pytest.raises(RowOutOfRange):
            epoch.positions(np.array([position]))
