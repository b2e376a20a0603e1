"""Coverage: what was delivered against what was planned; a lost and a doubled row are found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import millstream as ms
from millstream.plan import Coverage
from millstream.reading import reader
from millstream.reading.dataset import stream_of

COUNT = 2_600


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("data") / "d"
    ms.optimize(
        lambda i: {"id": i, "text": str(i)}, range(COUNT), place, chunk_size=100,
        num_workers=0, verbose=False,
    )  # fmt: skip
    return place


def dataset(folder: Path, **options: Any) -> ms.StreamingDataset:
    return ms.StreamingDataset(folder, shuffle=True, **options)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("transform", [None, lambda sample: sample["id"]])
def test_an_undisturbed_epoch_is_exact(folder: Path, workers: int, transform: Any) -> None:
    source = dataset(folder, transform=transform)
    loader = ms.StreamingDataLoader(source, batch_size=7, num_workers=workers)
    batches = iter(loader)
    for _ in range(5):
        next(batches)
    part = loader.coverage()
    assert part.exact
    assert (part.steps, part.start, part.stop, part.delivered.count) == (5, 0, 35, 35)
    list(batches)
    whole = loader.coverage()
    assert whole.exact
    assert whole.delivered.count == COUNT
    assert "all 2,600 planned rows came once, and no other" in str(whole)
    assert json.loads(json.dumps(whole.to_json()))["exact"] is True
    plan = source.plan(batch_size=7)
    assert whole.delivered == plan.coverage(0, plan.steps)


def test_the_parts_of_an_interrupted_epoch_add_up_to_the_whole(folder: Path) -> None:
    first = ms.StreamingDataLoader(dataset(folder), batch_size=64)
    batches = iter(first)
    for _ in range(10):
        next(batches)
    second = ms.StreamingDataLoader(dataset(folder), batch_size=50, num_workers=2)
    second.load_state_dict(first.state_dict())
    list(second)
    parts = first.coverage(), second.coverage()
    assert all(part.exact for part in parts)
    assert (parts[0].stop, parts[1].start, parts[1].stop) == (640, 640, COUNT)
    plan = dataset(folder).plan(batch_size=1)
    assert parts[0].delivered + parts[1].delivered == plan.coverage(0, COUNT)


@pytest.mark.parametrize("drop", [True, False])
def test_ranks_add_up_to_the_whole(folder: Path, drop: bool) -> None:
    total = Coverage()
    for rank in range(3):
        loader = ms.StreamingDataLoader(
            dataset(folder), batch_size=9, rank=rank, ranks=3, drop_last=drop
        )
        list(loader)
        assert loader.coverage().exact
        total += loader.coverage().delivered
    plan = dataset(folder, drop_last=drop).plan(batch_size=9, ranks=3)
    assert total == plan.coverage(0, plan.steps)
    assert total.count == (2_592 if drop else COUNT)


def test_numpy_batches_and_own_getitem_are_covered_too(folder: Path) -> None:
    batches = dataset(folder).batches(32)
    list(batches)
    assert batches.coverage().exact

    class Own(ms.StreamingDataset):
        def __getitem__(self, index: Any) -> Any:
            return super().__getitem__(index)["id"]

    loader = ms.StreamingDataLoader(Own(folder, shuffle=True), batch_size=32)
    list(loader)
    assert loader.coverage().exact


def disturb(monkeypatch: pytest.MonkeyPatch, row: int, into: int | None) -> None:
    """Inside the reader, a row becomes another one, or for None is left out of what is read."""
    runs_of = reader.Reader._runs

    def disturbed(self: Any, rows: Any, fields: Any) -> Any:
        wrong = rows.copy()
        if into is not None:
            wrong[wrong == row] = into
        runs, taken = runs_of(self, wrong, fields)
        if into is None:
            taken[taken == row] = -1
        return runs, taken

    monkeypatch.setattr(reader.Reader, "_runs", disturbed)


@pytest.mark.parametrize("doubled", [True, False])
def test_a_lost_row_and_a_doubled_one_are_found_and_their_steps_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch, doubled: bool
) -> None:
    plan = dataset(folder).plan(batch_size=2)
    lost, other = (int(plan.batch(at, 0)[0]) for at in (1_200, 20))
    disturb(monkeypatch, lost, other if doubled else None)
    loader = ms.StreamingDataLoader(dataset(folder, fields=["id"]), batch_size=2)
    got = [row for batch in loader for row in batch["id"].tolist()]
    if doubled:
        assert (got.count(lost), got.count(other)) == (0, 2)
    report = loader.coverage()
    assert not report.exact
    (found,) = report.differences
    assert (found.first_step, found.last_step) == (1_024, 1_299)
    assert found.delivered.count == found.planned.count - (not doubled)
    assert "steps 1,024 to 1,299" in str(report)
    assert report.to_json()["exact"] is False


def test_two_rows_that_change_places_are_found(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = reader.Reader.read

    def turned(self: Any, rows: Any, *rest: Any) -> Any:
        return read(self, rows[::-1].copy() if 77 in rows else rows, *rest)

    monkeypatch.setattr(reader.Reader, "read", turned)
    loader = ms.StreamingDataLoader(dataset(folder), batch_size=2)
    list(loader)
    (found,) = loader.coverage().differences
    step = dataset(folder).plan(batch_size=2).when(77)[0].step
    assert step is not None
    assert found.first_step <= step <= found.last_step
    assert found.delivered.count == found.planned.count
    assert "but not the planned ones" in str(found)


def test_the_reader_says_what_it_took(folder: Path) -> None:
    stream, rows = stream_of(dataset(folder)), np.array([3, 1, 2_599, 3])
    read = stream.read(stream.order(1).epoch(0), rows, lambda: rows)
    assert read.taken.tolist() == [3, 1, 2_599, 3]
