"""Laws of the order over random shapes: every selected row has its positions, and no other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import small_order
from hypothesis import given
from hypothesis import strategies as st
from shapes import chunk_rows, orders, selected, whole_order

from millstream.errors import RowOutOfRange, UsageError
from millstream.plan import Order, Selection, default_lanes, default_window, split, subsample
from millstream.plan.order import window_at

epochs = st.integers(0, 3)


@given(orders(), epochs)
def test_the_order_is_that_of_the_simplest_program(order: Order, number: int) -> None:
    selection = order.selection
    columns = (selection.chunk, selection.start, selection.stop, selection.copy)
    expected = small_order.epoch(
        order.chunk_rows.tolist(),
        list(zip(*(column.tolist() for column in columns), strict=True)),
        words=(order.seed, number),
        shuffle=order.shuffle,
        window=order.window,
        lanes=order.lanes,
    )
    assert order.epoch(number).rows(np.arange(order.length)).tolist() == expected


@given(orders(), epochs)
def test_an_epoch_holds_each_selected_row_once(order: Order, number: int) -> None:
    rows = order.epoch(number).rows(np.arange(order.length))
    assert np.array_equal(np.sort(rows), selected(order.chunk_rows, order.selection))


@given(orders(), epochs)
def test_positions_invert_rows(order: Order, number: int) -> None:
    epoch = order.epoch(number)
    index, positions = epoch.positions(np.arange(order.chunk_rows.sum()))
    assert np.array_equal(epoch.rows(positions), index)
    assert np.array_equal(np.sort(positions), np.arange(order.length))


@given(orders(), epochs, st.data())
def test_a_position_is_the_same_however_it_is_asked_for(
    order: Order, number: int, data: st.DataObject
) -> None:
    rows = order.epoch(number).rows(np.arange(order.length))
    if order.length:
        some = data.draw(st.lists(st.integers(0, order.length - 1), max_size=9))
        asked = order.epoch(number).rows(np.array(some, np.int64))
        assert asked.tolist() == rows[some].tolist()


@given(orders())
def test_lanes_are_equally_long_pieces_of_the_line(order: Order) -> None:
    N, L = order.length, order.lanes
    plain = {"selection": order.selection, "shuffle": False}
    line = whole_order(order.chunk_rows, **plain).epoch(0).rows(np.arange(N))
    epoch = whole_order(order.chunk_rows, **plain, lanes=L).epoch(0)
    lanes = [epoch.rows(np.arange(lane, N, L)) for lane in range(L)]
    assert [len(lane) for lane in lanes] == [N // L + (lane < N % L) for lane in range(L)]
    assert np.array_equal(np.concatenate(lanes), line)


@given(chunk_rows, epochs, st.integers(1, 50))
def test_unshuffled_on_one_lane_is_the_order_of_the_rows(
    rows: np.ndarray, number: int, ranks: int
) -> None:
    lanes = default_lanes(shuffle=False, chunks=len(rows), ranks=ranks)
    order = whole_order(rows, shuffle=False, lanes=lanes)
    assert np.array_equal(order.epoch(number).rows(np.arange(order.length)), np.arange(rows.sum()))


@given(chunk_rows, epochs, st.integers(0, 99))
def test_a_window_of_one_row_only_permutes_chunks(rows: np.ndarray, number: int, seed: int) -> None:
    order = whole_order(rows, seed=seed, window=1)
    read = order.epoch(number).rows(np.arange(order.length))
    chunk = np.repeat(np.arange(len(rows)), rows)[read]
    changes = np.flatnonzero(np.diff(chunk))
    assert len(changes) + 1 == np.count_nonzero(rows) or not order.length
    assert (np.delete(np.diff(read), changes) == 1).all()


@given(chunk_rows, st.integers(1, 300), epochs)
def test_rows_stay_in_their_windows(rows: np.ndarray, window: int, number: int) -> None:
    ordered = whole_order(rows, window=1).epoch(number).rows(np.arange(rows.sum()))
    permuted = whole_order(rows, window=window).epoch(number).rows(np.arange(rows.sum()))
    of_window, _, _ = window_at(np.arange(rows.sum()), window)
    for one in np.unique(of_window):
        inside = of_window == one
        assert np.array_equal(np.sort(permuted[inside]), np.sort(ordered[inside]))


@given(st.integers(1, 5_000), st.integers(1, 5_000))
def test_windows_double_from_64_to_the_full_size(full: int, rows: int) -> None:
    starts, size = [0], 64
    while starts[-1] < rows:
        starts.append(starts[-1] + min(size, full))
        size = min(2 * size, full)
    number, start, sizes = window_at(np.arange(rows), full)
    expected = np.searchsorted(starts, np.arange(rows), side="right") - 1
    assert np.array_equal(number, expected)
    assert np.array_equal(start, np.array(starts)[expected])
    assert np.array_equal(sizes, np.diff(starts)[expected])


@given(orders(shuffle=True))
def test_the_first_rows_of_a_lane_are_its_first_64_whatever_the_window(order: Order) -> None:
    heads = np.arange(min(order.length, 64 * order.lanes))
    same = {"selection": order.selection, "seed": order.seed, "lanes": order.lanes}
    large = whole_order(order.chunk_rows, **same, window=1 << 40).epoch(1).rows(heads)
    plain = whole_order(order.chunk_rows, **same, window=1).epoch(1).rows(heads)
    assert np.array_equal(np.sort(large), np.sort(plain))


def test_each_copy_of_a_chunk_has_a_place_of_its_own() -> None:
    rows = np.full(30, 1)
    twice = subsample(Selection.whole(rows), 2.0, seed=0)
    read = whole_order(rows, selection=twice, window=1).epoch(0).rows(np.arange(60))
    assert np.array_equal(np.sort(read), np.repeat(np.arange(30), 2))
    assert len(set(read[:30].tolist())) < 30
    assert (np.diff(read) == 0).sum() < 10


def test_intervals_of_a_chunk_stay_together_in_the_order_of_their_rows() -> None:
    rows = np.full(20, 100)
    part = split(Selection.whole(rows), [0.5], seed=0)[0]
    order = whole_order(rows, selection=part, window=1)
    read = order.epoch(0).rows(np.arange(order.length))
    same_chunk = np.diff(read // 100) == 0
    assert np.count_nonzero(~same_chunk) == 19
    assert (np.diff(read)[same_chunk] > 0).all()


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    rows = np.full(40, 50)
    words = [(1, 0), (1, 1), (2, 0), (0, 2), (3, 0), (-1, 0), (1 << 64, 1), (0, 1)]
    read = [
        whole_order(rows, seed=seed, window=400, lanes=4).epoch(epoch).rows(np.arange(2_000))
        for seed, epoch in words
    ]
    for n, one in enumerate(read):
        for other in read[:n]:
            # Two random orders agree at about one place; seed + epoch must not collide.
            assert (one == other).sum() < 12
            # Four standard deviations for 40 chunks laid end to end at random.
            assert abs(np.corrcoef(one, other)[0, 1]) < 4 / 40**0.5


def test_windows_lanes_and_epochs_are_permuted_independently() -> None:
    size, windows = 64, 40
    rows = np.array([size * windows])
    where = []
    for epoch in range(3):
        for lanes in (1, 2):
            order = whole_order(rows, window=size, lanes=lanes)
            read = order.epoch(epoch).rows(np.arange(order.length))
            lane_by_lane = np.concatenate([read[lane::lanes] for lane in range(lanes)])
            where.append(lane_by_lane.reshape(windows, size) % size)
    # One lane and two share the keys of the windows of lane 0.
    assert np.array_equal(where[0][:20], where[1][:20])
    several = np.concatenate([where[0], where[1][20:], where[2], where[4]]).astype(np.float64)
    several = (several - several.mean()) / several.std()
    table = several @ several.T / size
    others = table[~np.eye(len(table), dtype=bool)] * size**0.5
    assert np.abs(others).max() < 6
    assert abs(others.mean()) < 5 / len(others) ** 0.5


def test_an_epoch_without_rows() -> None:
    for rows in (np.zeros(0, np.int64), np.zeros(3, np.int64)):
        epoch = whole_order(rows, lanes=4).epoch(0)
        assert epoch.length == 0
        assert epoch.rows(np.zeros(0, np.int64)).tolist() == []
        assert [len(part) for part in epoch.positions(np.zeros(0, np.int64))] == [0, 0]


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("outside", [-1, 10])
def test_what_lies_outside_is_refused(outside: int, shuffle: bool) -> None:
    epoch = whole_order(np.array([4, 6]), shuffle=shuffle).epoch(0)
    with pytest.raises(UsageError):
        epoch.rows(np.array([0, outside]))
    with pytest.raises(RowOutOfRange):
        epoch.positions(np.array([0, outside]))
    with pytest.raises(UsageError):
        whole_order(np.array([4, 6])).epoch(-1)


@pytest.mark.parametrize(
    "bad",
    [
        {"window": 0},
        {"window": 1 << 62},
        {"window": 1.0},
        {"lanes": 0},
        {"lanes": -3},
        {"lanes": "4"},
        {"seed": 1.5},
        {"seed": None},
        {"seed": 1 << 128},
        {"chunk_rows": np.array([4])},  # the selection names two
        {"chunk_rows": np.array([4, 5])},  # and six rows of the second
        {"chunk_rows": np.array([4.0, 6.0])},
        {"chunk_rows": np.array([4, -6])},
        {"chunk_rows": np.array([[4, 6]])},
    ],
)
def test_an_order_is_valid_from_birth(bad: dict[str, Any]) -> None:
    rows = np.array([4, 6])
    good = {"seed": 1, "shuffle": True, "window": 5, "lanes": 2}
    selection = Selection.whole(rows)
    Order(**{"chunk_rows": rows, "selection": selection, **good})
    with pytest.raises(UsageError):
        Order(**{"chunk_rows": rows, "selection": selection, **good, **bad})


def test_settings_differ_by_each_thing_that_decides_the_order() -> None:
    rows = np.array([9, 9, 9])
    changes = [{}, {"seed": 2}, {"window": 9}, {"lanes": 2}, {"shuffle": False}]
    settings = [whole_order(rows, **change).settings() for change in changes]
    settings.append(whole_order(np.array([9, 18])).settings())
    part = split(Selection.whole(rows), [0.5], seed=0)[0]
    settings.append(whole_order(rows, selection=part).settings())
    assert all(one != other for n, one in enumerate(settings) for other in settings[:n])
    assert whole_order(rows.copy()).settings() == settings[0]


def test_default_lanes() -> None:
    assert default_lanes(shuffle=True, chunks=3, ranks=1) == 3
    assert default_lanes(shuffle=True, chunks=0, ranks=1) == 1
    assert default_lanes(shuffle=True, chunks=99, ranks=16) == 16
    assert default_lanes(shuffle=True, chunks=3, ranks=40) == 40
    assert default_lanes(shuffle=False, chunks=99, ranks=40) == 1


def test_default_window() -> None:
    def window(mean: int, budget: int) -> int:
        return default_window(
            chunk_rows=np.array([mean - 1, mean + 1]),
            lanes=16,
            bytes_per_row=1_000,
            budget_bytes=budget,
        )

    assert window(700, 10**12) == 65_536
    assert window(20_000, 10**12) == 160_000
    # All 16 windows, twice, take half of the budget.
    assert window(20_000, 64_000_000) == 1_000
    assert window(20_000, 0) == 1
    for none in (np.zeros(0, np.int64), np.zeros(2, np.int64)):
        assert default_window(chunk_rows=none, lanes=1, bytes_per_row=0, budget_bytes=9) == 65_536
