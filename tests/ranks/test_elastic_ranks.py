"""Runs that stop on some ranks and go on on others lose nothing, and keep their global batches."""

from __future__ import annotations

import json
import shutil
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gang import gang
from ranked_data import KINDS, append, numbers, opened

from millstream.errors import StateMismatch
from millstream.plan import (
    AnyEpoch,
    Group,
    Mixture,
    Order,
    Plan,
    Selection,
    SideBySide,
    StepRows,
    subsample,
)

pytestmark = pytest.mark.timeout(200)

# (ranks, workers, batch size), the steps done, and with what the run goes on.
SHAPES = [
    ((4, 0, 3), 2, (2, 1, 6)),
    ((1, 2, 12), 1, (4, 0, 3)),
    ((3, 1, 4), 3, (4, 0, 5)),
]


def shape(of: tuple[int, int, int], **more: int) -> dict[str, int]:
    return {"ranks": of[0], "workers": of[1], "batch": of[2], **more}


def by_step(ranks: list[list[list[Any]]]) -> list[list[Any]]:
    """The global batches of what each rank got by step, sorted."""
    return [sorted(i for part in step for i in part) for step in zip_longest(*ranks, fillvalue=[])]


def test_eighteen_runs_of_real_processes(place: Path, tmp_path: Path) -> None:
    cases = [
        {"kind": kind, "first": shape(first, steps=steps), "then": shape(then)}
        for kind in KINDS
        for first, steps, then in SHAPES
    ]
    found = gang("resumed", 4, tmp_path, place=str(place), cases=cases)
    assert len(cases) == 18
    for case, *ranks in zip(cases, *found, strict=True):
        states = [json.dumps(state) for state in ranks[0]["states"]]
        assert len(states) == case["first"]["ranks"]
        assert len({*states}) == 1
        assert len(states[0]) < 1_024
        first = by_step([rank["first"] for rank in ranks])
        rest = by_step([rank["rest"] for rank in ranks])
        size = case["first"]["ranks"] * case["first"]["batch"]
        undisturbed = whole(place, case["kind"], size)
        assert first == undisturbed[: len(first)]
        if case["then"]["ranks"] * case["then"]["batch"] == size:
            assert rest == undisturbed[len(first) :]
        assert sorted(chain(*first, *rest)) == sorted(chain(*undisturbed))


def whole(place: Path, kind: str, size: int) -> list[list[Any]]:
    """The global batches of a run that nothing disturbs, on one rank of this process."""
    dataset = opened(place, kind)
    return [sorted(numbers(batch, kind)) for batch in dataset.batches(size)]


# In terms of plans, which takes no data ---------------------------------------------------------


def orders(lanes: int) -> dict[str, Any]:
    """An order of each kind on so many lanes."""
    rows = np.array([13, 40, 1, 25, 60, 31])
    whole = Selection.whole(rows)
    options: dict[str, Any] = {"seed": 3, "shuffle": True, "window": 70, "lanes": lanes}
    order = Order(chunk_rows=rows, selection=whole, **options)
    part = subsample(whole, 1.6, seed=1)
    other = Order(chunk_rows=rows, selection=part, **{**options, "seed": 8})
    group = Group(members=(0, 1), weights=(0.7, 0.3), until_all=True)
    ones = np.ones(170, np.int64)  # files as they are lie in no chunks
    files = Order(
        chunk_rows=ones, selection=Selection.whole(ones), **{**options, "window": len(ones)}
    )
    return {
        "one": order,
        "unshuffled": Order(chunk_rows=rows, selection=part, **{**options, "shuffle": False}),
        "blocks": Order(chunk_rows=rows, selection=whole, block_size=512, **options),
        "mixture": Mixture(sources=(order, other), tree=group, seed=4),
        "side by side": SideBySide(sources=(order, other), length=333, goes_on=True),
        "files": files,
        "files and rows": Mixture(sources=(files, order), tree=group, seed=4),
    }


def steps_of(plan: Plan, workers: int) -> list[np.ndarray]:
    """The rows of each global batch, as the workers of every rank find them in turn, sorted."""
    batches: list[list[np.ndarray]] = [[] for _ in range(plan.steps)]
    for rank in range(plan.ranks):
        finders = [StepRows(plan, rank, workers) for _ in range(workers)]
        for step, found in enumerate(batches):
            found.append(finders[step % workers](step))
    return [np.sort(np.concatenate(found)) for found in batches]


GRID = [
    ((ranks, workers, batch), then, lanes, position)
    for ranks, workers, batch, then in [
        (1, 1, 12, (4, 2, 3)),
        (2, 3, 6, (3, 1, 4)),
        (4, 1, 3, (1, 4, 12)),
        (6, 2, 2, (2, 1, 5)),
        (3, 1, 5, (8, 2, 2)),
        (8, 2, 3, (2, 3, 12)),
    ]
    for lanes in (1, 3, 4, 16)
    for position in (0, 1, 5)
]


@pytest.mark.parametrize("kind", [*orders(1)])
def test_a_grid_of_shapes_lanes_and_positions(kind: str) -> None:
    assert len(GRID) * len(orders(1)) >= 200
    for first, then, lanes, position in GRID:
        check(orders(lanes)[kind].epoch(2), first, then, position)


def check(
    epoch: AnyEpoch, first: tuple[int, int, int], then: tuple[int, int, int], done: int
) -> None:
    ranks, workers, batch = first
    plan = Plan(epoch=epoch, batch_size=batch, ranks=ranks, drop_last=False)
    undisturbed = steps_of(plan, workers)
    ranks, workers, batch = then
    start = plan.after(done)
    resumed = Plan(epoch=epoch, batch_size=batch, ranks=ranks, drop_last=False, start=start)
    rest = steps_of(resumed, workers)
    everything = np.sort(epoch.rows(np.arange(epoch.length)))
    assert np.array_equal(np.sort(np.concatenate([*undisturbed[:done], *rest])), everything)
    if batch * ranks == plan.batch_size * plan.ranks:
        assert len(rest) == len(undisturbed) - done
        for mine, theirs in zip(rest, undisturbed[done:], strict=True):
            assert np.array_equal(mine, theirs)


# Which data a state is of -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_moved_data_is_the_same_and_other_data_is_refused(
    place: Path, tmp_path: Path, kind: str
) -> None:
    batches = opened(place, kind).batches(6, rank=1, ranks=2)
    next(iter(batches))
    state = json.loads(json.dumps(batches.state_dict()))
    rest = [numbers(batch, kind) for batch in opened(place, kind).batches(6, rank=1, ranks=2)][1:]
    moved = Path(shutil.copytree(place, tmp_path / "moved"))
    elsewhere = opened(moved, kind).batches(6, rank=1, ranks=2)
    elsewhere.load_state_dict(state)
    assert [numbers(batch, kind) for batch in elsewhere] == rest
    append(moved / {"tokens": "tokens", "raw": "raw", "mixed": "raw"}.get(kind, "a"))
    with pytest.raises(StateMismatch, match="saved on version"):
        opened(moved, kind).batches(6, rank=1, ranks=2).load_state_dict(state)
    with pytest.raises(StateMismatch, match=r"seed|datasets"):
        opened(place, kind, seed=1).batches(6, rank=1, ranks=2).load_state_dict(state)
