"""Laws of selections, splits and subsamples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapes import chunk_rows, selected, selections

from millstream.errors import UsageError
from millstream.plan import Selection, split, subsample

weights = st.lists(st.floats(0.01, 1), min_size=1, max_size=5)
seeds = st.integers(0, 9)


def pairs(selection: Selection) -> list[tuple[int, ...]]:
    """(copy, chunk, row) of all that is selected."""
    columns = (selection.copy, selection.chunk, selection.start, selection.stop)
    return [
        (copy, chunk, row)
        for copy, chunk, start, stop in zip(*(c.tolist() for c in columns), strict=True)
        for row in range(start, stop)
    ]


@given(chunk_rows.flatmap(selections), weights, seeds)
def test_parts_are_disjoint_and_together_everything(
    selection: Selection, some: list[float], seed: int
) -> None:
    parts = split(selection, [weight / sum(some) for weight in some], seed=seed)
    assert sorted(pair for part in parts for pair in pairs(part)) == pairs(selection)


@given(chunk_rows.flatmap(selections), weights, st.floats(0.1, 1), seeds)
def test_counts_are_exact_to_a_row(
    selection: Selection, some: list[float], whole: float, seed: int
) -> None:
    fractions = [weight / sum(some) * whole for weight in some]
    parts = split(selection, fractions, seed=seed)
    for part, fraction in zip(parts, fractions, strict=True):
        assert abs(part.rows - fraction * selection.rows) < 1 + 1e-6
    assert abs(sum(part.rows for part in parts) - whole * selection.rows) <= 0.5 + 1e-6
    found = [pair for part in parts for pair in pairs(part)]
    assert len(set(found)) == len(found)
    assert set(found) <= set(pairs(selection))


@pytest.mark.parametrize(
    "fractions",
    [[0.1] * 10, [1 / 3] * 3, [0.7, 0.2, 0.1], [0.5 + 4e-10] * 2, [0.5 - 4e-10] * 2],
    ids=str,
)
@pytest.mark.parametrize("rows", [1, 10, 999, 4_000_000_001])
def test_fractions_that_mean_one_leave_no_row(fractions: list[float], rows: int) -> None:
    total = 2 * rows + 7
    parts = split(Selection.whole(np.array([rows, 7, rows])), fractions, seed=1)
    assert sum(part.rows for part in parts) == total
    for part, fraction in zip(parts, fractions, strict=True):
        assert abs(part.rows - fraction / sum(fractions) * total) < 1


def test_what_rounding_leaves_goes_to_the_largest_remainder() -> None:
    # Of 2 rows 0.4 and 1.6: the whole row that is left over belongs to the second part.
    parts = split(Selection.whole(np.array([2])), [0.2, 0.8], seed=0)
    assert [part.rows for part in parts] == [0, 2]


def test_a_part_joins_what_touches_in_one_copy_of_one_chunk_only() -> None:
    touching = Selection(
        chunk=[0, 0, 1, 1], start=[0, 3, 5, 7], stop=[3, 5, 7, 9], copy=[0, 0, 0, 1]
    )
    everything = split(touching, [1.0], seed=0)[0]
    assert everything.chunk.tolist() == [0, 1, 1]
    assert everything.start.tolist() == [0, 5, 7]
    assert everything.stop.tolist() == [5, 7, 9]
    assert everything.copy.tolist() == [0, 0, 1]


@given(chunk_rows, weights, seeds)
def test_a_split_is_repeatable_and_depends_on_the_seed(
    rows: np.ndarray, some: list[float], seed: int
) -> None:
    fractions = [weight / sum(some) for weight in some]
    digests = [
        [part.digest() for part in split(Selection.whole(rows), fractions, seed=seed)]
        for _ in range(2)
    ]
    assert digests[0] == digests[1]


def test_other_seeds_give_other_parts() -> None:
    whole = Selection.whole(np.full(10, 100))
    assert len({split(whole, [0.5], seed=seed)[0].digest() for seed in range(20)}) == 20


@pytest.mark.parametrize("rows", [1_000, 100_000])
def test_a_part_of_sorted_data_is_like_the_whole(rows: int) -> None:
    part = split(Selection.whole(np.full(10, rows)), [0.1], seed=0)[0]
    per_chunk = np.bincount(part.chunk, part.stop - part.start, 10)
    assert part.rows == rows
    assert per_chunk.min() > 0.06 * rows


def test_a_split_of_many_rows_has_few_intervals() -> None:
    chunks, rows = 1_000, 10**9
    for part in split(Selection.whole(np.full(chunks, rows // chunks)), [0.5, 0.5], seed=0):
        assert len(part.chunk) <= 65_536 + 2 * chunks


@given(chunk_rows.flatmap(selections), st.floats(0.01, 4), seeds)
def test_a_subsample_is_whole_copies_and_a_part(
    selection: Selection, fraction: float, seed: int
) -> None:
    if not selection.rows or int(fraction) + round(fraction % 1 * selection.rows) == 0:
        with pytest.raises(UsageError):
            subsample(selection, fraction, seed=seed)
        return
    taken = subsample(selection, fraction, seed=seed)
    by_copy = pairs(taken)
    assert len(set(by_copy)) == len(by_copy)
    rest = round((fraction - int(fraction)) * selection.rows)
    assert taken.rows == int(fraction) * selection.rows + rest
    times = dict.fromkeys(pairs(selection), 0)
    for copy, chunk, row in by_copy:
        times[copy % selection.copies, chunk, row] += 1
    assert {int(fraction), int(fraction) + 1} >= set(times.values())


@given(chunk_rows.flatmap(selections), seeds)
def test_a_part_is_the_first_of_a_split(selection: Selection, seed: int) -> None:
    if round(0.3 * selection.rows):
        part = split(selection, [0.3, 0.7], seed=seed)[0]
        assert abs(subsample(selection, 0.3, seed=seed).rows - part.rows) <= 1
        alone = split(selection, [0.3], seed=seed)[0]
        assert subsample(selection, 0.3, seed=seed).digest() == alone.digest()


@given(chunk_rows)
def test_the_whole_is_every_row_once(rows: np.ndarray) -> None:
    whole = Selection.whole(rows)
    assert np.array_equal(selected(rows, whole), np.arange(rows.sum()))
    assert whole.rows == rows.sum()
    if whole.rows:
        assert subsample(whole, 1.0, seed=3).digest() == whole.digest()


@pytest.mark.parametrize("fractions", [[], [0.0], [-0.1, 0.5], [0.6, 0.5], [float("nan")]])
def test_fractions_that_make_no_sense_are_refused(fractions: list[float]) -> None:
    with pytest.raises(UsageError):
        split(Selection.whole(np.array([9])), fractions, seed=0)


@pytest.mark.parametrize("fraction", [0.0, -1.0, float("inf"), float("nan"), 0.01])
def test_subsamples_that_make_no_sense_are_refused(fraction: float) -> None:
    with pytest.raises(UsageError):
        subsample(Selection.whole(np.array([9])), fraction, seed=0)


GOOD = {"chunk": [0, 0, 2, 0], "start": [0, 5, 0, 0], "stop": [3, 6, 1, 9], "copy": [0, 0, 0, 1]}


@pytest.mark.parametrize(
    "bad",
    [
        {"stop": [0, 6, 1, 9]},  # an empty interval
        {"start": [0, 2, 0, 0]},  # two that overlap
        {"chunk": [0, 0, 2, -1]},
        {"start": [-1, 5, 0, 0]},
        {"chunk": [2, 0, 0, 0]},  # not sorted
        {"copy": [0, 1, 0, 1]},
        {"copy": [0, 0, 0]},
        {"stop": [3.5, 6.0, 1.0, 9.0]},
        {"chunk": [[0, 0, 2, 0]]},
    ],
)
def test_a_selection_is_valid_from_birth(bad: dict[str, Any]) -> None:
    Selection(**GOOD)
    with pytest.raises(UsageError):
        Selection(**{**GOOD, **bad})


def test_a_selection_cannot_be_changed_from_outside() -> None:
    starts = np.array([0, 5, 0, 0])
    selection = Selection(**{**GOOD, "start": starts})
    digest = selection.digest()
    starts[0] = 1
    assert selection.digest() == digest
    with pytest.raises(ValueError, match="read-only"):
        selection.start[0] = 1


def test_digests_name_what_is_selected() -> None:
    other = [{"stop": [4, 6, 1, 9]}, {"start": [1, 5, 0, 0]}, {"chunk": [0, 0, 2, 1]}]
    some = [Selection(**{**GOOD, **change}) for change in [{}, *other, {"copy": [0, 0, 0, 2]}]]
    assert len({selection.digest() for selection in some}) == len(some)
