"""Batches that are filled up: full on every rank, marked, and counted once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from ranked_data import KINDS, ROWS, numbers, opened

import millstream as ms
from millstream import errors
from millstream.plan import Coverage, Order, Plan, Selection

COUNT = ROWS["a"]


@given(
    st.lists(st.integers(0, 40), min_size=1, max_size=5),
    st.integers(1, 9), st.integers(1, 7), st.integers(1, 5), st.data(),
)  # fmt: skip
def test_every_rank_has_full_batches_and_repeats_come_last(
    rows: list[int], batch: int, ranks: int, lanes: int, data: st.DataObject
) -> None:
    chunk_rows = np.array(rows)
    order = Order(
        chunk_rows=chunk_rows, selection=Selection.whole(chunk_rows), seed=1, shuffle=True,
        window=64, lanes=lanes,
    )  # fmt: skip
    start = data.draw(st.integers(0, order.length))
    shape: dict[str, Any] = {
        "epoch": order.epoch(0), "batch_size": batch, "ranks": ranks, "start": start,
    }  # fmt: skip
    padded = Plan(**shape, drop_last=False, pad=True)
    plain = Plan(**shape, drop_last=False)
    assert padded.steps == plain.steps
    for rank in range(ranks):
        assert padded.steps_of(rank) == padded.steps
        for step in range(padded.steps):
            got = padded.batch(step, rank)
            assert len(got) == batch
            fresh = batch - padded.padding(step, rank)
            assert np.array_equal(got[:fresh], plain.batch(step, rank))
            # What fills it was read before, or is read in this very step.
            assert (padded.positions(step, rank)[fresh:] < padded.after(step + 1)).all()
            assert plain.padding(step, rank) == 0
        turns = padded.positions_of(0, padded.steps, rank)
        each = [padded.positions(step, rank) for step in range(padded.steps)]
        assert np.array_equal(turns, np.concatenate([*each, np.empty(0, np.int64)]))
    assert padded.coverage(0, padded.steps) == plain.coverage(0, plain.steps)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("workers", [0, 2])
def test_repeats_are_marked_and_not_covered(place: Path, kind: str, workers: int) -> None:
    delivered, fresh = Coverage(), []
    reports = []
    for rank in range(3):
        loader = ms.StreamingDataLoader(
            opened(place, kind), batch_size=64, pad=True, rank=rank, ranks=3, num_workers=workers
        )
        for batch in loader:
            named = numbers(batch, kind)
            assert len(named) == 64
            fresh += named[: 64 - loader.padded]
        reports.append(loader.coverage())
        delivered += loader.coverage().delivered
    whole = opened(place, kind).plan(batch_size=1, drop_last=False)
    assert len(set(fresh)) == len(fresh) == whole.epoch.length
    assert delivered == whole.coverage(0, whole.steps)
    assert reports[0].combined(reports[1:]).exact


def test_a_field_marks_them(place: Path) -> None:
    loader = ms.StreamingDataLoader(opened(place), batch_size=50, pad="again")
    batches = list(loader)
    assert [batch["again"].sum().item() for batch in batches] == [0, 0, 0, 0, 23]
    assert all(batch["again"].dtype == torch.bool for batch in batches)
    assert batches[-1]["again"].tolist() == [False] * 27 + [True] * 23
    # The step before, again: what is there by then.
    assert batches[-1]["id"][27:].tolist() == batches[-2]["id"][27:].tolist()


def test_numpy_batches_are_filled_too(place: Path) -> None:
    batches = opened(place).batches(50, pad=True)
    assert [(len(batch["id"]), batches.padded) for batch in batches] == [(50, 0)] * 4 + [(50, 23)]
    assert batches.coverage().exact


def test_it_resumes_and_takes_part_in_plans(place: Path) -> None:
    loader = ms.StreamingDataLoader(opened(place), batch_size=50, pad=True, rank=1, ranks=2)
    plan = loader.plan()
    batches = [numbers(batch) for batch in loader]
    assert [plan.batch(step, 1).tolist() for step in range(plan.steps)] == batches
    assert opened(place).plan(batch_size=50, ranks=2, pad=True).batch(2, 1).tolist() == batches[2]
    first = ms.StreamingDataLoader(opened(place), batch_size=50, pad=True, rank=1, ranks=2)
    next(iter(first))
    resumed = ms.StreamingDataLoader(opened(place), batch_size=50, pad=True, rank=1, ranks=2)
    resumed.load_state_dict(first.state_dict())
    assert [numbers(batch) for batch in resumed] == batches[1:]


def test_what_cannot_be_filled_or_marked(place: Path) -> None:
    def loader(pad: Any, kind: str = "plain", **options: Any) -> ms.StreamingDataLoader:
        return ms.StreamingDataLoader(opened(place, kind), batch_size=10, pad=pad, **options)

    with pytest.raises(errors.UsageError, match="drop_last=True leaves out"):
        loader(True, drop_last=True)
    with pytest.raises(errors.UsageError, match="drop_last"):
        opened(place, drop_last=True).batches(10, pad=True)
    for pad in ("", 1, None):
        with pytest.raises(errors.UsageError, match="pad is"):
            loader(pad)
    with pytest.raises(errors.UsageError, match="a field 'id' already"):
        next(iter(loader("id")))
    with pytest.raises(errors.UsageError, match="which is a Tensor here"):
        next(iter(loader("again", kind="tokens")))
    with pytest.raises(errors.UsageError, match="pad fills"):
        Plan(epoch=opened(place).plan(batch_size=1).epoch, batch_size=2, ranks=1,
             drop_last=True, pad=True)  # fmt: skip
