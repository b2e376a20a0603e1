"""Reports of ranks that are put together by hand: whatever does not fit is named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ranked_data import opened

from millstream import errors
from millstream.plan import Coverage, CoverageReport


def reports(
    place: Path, steps: list[int], *, batch: int = 6, drop: bool = True, **options: Any
) -> list[CoverageReport]:
    """Of ranks that have done so many steps each."""
    found = []
    for rank, most in enumerate(steps):
        batches = opened(place, **options).batches(
            batch, rank=rank, ranks=len(steps), drop_last=drop
        )
        for done, _ in enumerate(batches, 1):
            if done == most:
                break
        found.append(batches.coverage())
    return found


def test_ranks_at_the_same_step_add_up(place: Path) -> None:
    found = reports(place, [5, 5, 5])
    whole = found[0].combined(found[1:])
    assert whole.exact
    plan = opened(place).plan(batch_size=6, ranks=3)
    assert whole.delivered == whole.planned == plan.coverage(0, 5)
    assert (whole.start, whole.stop) == (0, 90)
    assert whole.to_json()["exact"] is True
    # One of two processes of a replica is enough, both are no problem.
    assert found[2].combined(found) == whole


def test_uneven_tails_are_no_problem(place: Path) -> None:
    """227 rows of three ranks by 75: the last rank has one step less."""
    found = reports(place, [9, 9, 9], batch=75, drop=False)
    assert [report.steps for report in found] == [2, 2, 1]
    assert found[0].combined(found[1:]).exact
    assert found[0].combined(found).planned.count == 227


def changed(name: str) -> Callable[[list[CoverageReport]], list[CoverageReport]]:
    """What goes wrong, by name."""

    def of_last(**values: Any) -> Callable[[list[CoverageReport]], list[CoverageReport]]:
        return lambda found: [*found[:-1], replace(found[-1], **values)]

    return {
        "no report of the ranks 2": lambda found: found[:-1],
        "two processes of rank 1 report differently": lambda found: [
            *found, replace(found[1], delivered=Coverage()),
        ],
        "rank 2 read other data": of_last(run="0" * 16),
        "rank 2 began at position 0 of epoch 7": of_last(epoch=7),
        "rank 2 began at position 12 of epoch 0": of_last(start=12),
        "rank 2 has yet to read 6 rows": of_last(stop=72, steps=4),
    }[name]  # fmt: skip


@pytest.mark.parametrize(
    "problem",
    [
        "no report of the ranks 2",
        "two processes of rank 1 report differently",
        "rank 2 read other data",
        "rank 2 began at position 0 of epoch 7",
        "rank 2 began at position 12 of epoch 0",
        "rank 2 has yet to read 6 rows",
    ],
)
def test_what_does_not_fit_is_named(place: Path, problem: str) -> None:
    found = changed(problem)(reports(place, [5, 5, 5]))
    whole = found[0].combined(found[1:])
    assert not whole.exact
    assert any(problem in told for told in whole.problems), whole.problems
    assert problem in str(whole)
    assert whole.to_json()["problems"] == list(whole.problems)


@pytest.mark.parametrize("other", [{"seed": 1}, {"shuffle": False}, {"subsample": 2.0}])
def test_a_rank_with_another_order_is_found(place: Path, other: dict[str, Any]) -> None:
    """Each is exact by itself."""
    ours, theirs = reports(place, [5, 5, 5]), reports(place, [5, 5, 5], **other)
    mixed = [*ours[:2], theirs[2]]
    assert all(report.exact for report in mixed)
    assert not mixed[0].combined(mixed).exact


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9)), min_size=1, max_size=3),
    st.integers(0, 40),
)
def test_a_report_comes_back_through_json(place: Path, lost: list[Any], count: int) -> None:
    report = reports(place, [2])[0]
    wrong = Coverage(count, count)
    difference = {"first_step": 0, "last_step": 1, "delivered": wrong.to_json()}
    told = {**report.to_json(), "delivered": wrong.to_json()}
    told["differences"] = [{**difference, "planned": report.planned.to_json()}] * len(lost)
    back = CoverageReport.from_json(told)
    assert back.to_json() == {**told, "exact": False}
    assert not back.exact


@pytest.mark.parametrize("bad", [{}, {"epoch": 1}, [], "x", None])
def test_what_is_no_report_is_refused(bad: Any) -> None:
    with pytest.raises(errors.UsageError, match="not a report"):
        CoverageReport.from_json(bad)
