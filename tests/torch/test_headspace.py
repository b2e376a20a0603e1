"""Where the time of batches goes; a trace of it; the same few batches again and again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import millstream as ms
from millstream import errors
from millstream.execution.crew import Crew
from millstream.reading.stats import LoaderStats, Stages
from millstream.torch.timing import Clock

pytestmark = [
    pytest.mark.timeout(200),
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),
]
COUNT = 100
WAYS: list[dict[str, Any]] = [
    {},
    {"num_workers": 2},
    {"num_workers": 2, "workers": "threads"},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("data") / "d"
    ms.optimize(
        lambda i: {"id": i, "v": np.full(3, i)}, range(COUNT), place, chunk_size=30,
        num_workers=0, verbose=False,
    )  # fmt: skip
    return place


def loader(folder: Path, **options: Any) -> ms.StreamingDataLoader:
    dataset = ms.StreamingDataset(folder, shuffle=True, transform=options.pop("transform", None))
    return ms.StreamingDataLoader(dataset, **{"batch_size": 10, **options})


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("transform", [None, lambda sample: sample])
def test_every_second_of_a_batch_is_counted_once(
    folder: Path, way: dict[str, Any], transform: Any
) -> None:
    one = loader(folder, transform=transform, **way)
    assert one.stats() == LoaderStats()
    for _ in range(2):
        list(one)
    found = one.stats()
    assert found.batches == 20
    assert found.seconds >= found.waited_seconds >= found.handed_over_seconds >= 0
    assert found.waited_seconds >= found.started_seconds >= 0
    stages = (
        found.read_seconds, found.decode_seconds, found.collate_seconds, found.idle_seconds
    )  # fmt: skip
    assert all(seconds >= 0 for seconds in stages)
    assert found.read_seconds > 0 < found.collate_seconds
    assert found.fetch_seconds == 0  # no network
    if not way:
        assert found.waited_seconds >= sum(stages)
    assert "20 batches in " in str(found)
    assert str(found).endswith(f"Bottleneck: {found.bottleneck}")
    assert (one.stats() - found).batches == 0


@pytest.mark.parametrize(
    ("stages", "asked", "got", "slowest"),
    [
        ((0, 0, 1, 2, 3, 0), 99, 100, "the trainer"),
        ((0, 0, 1, 2, 3, 0), 90, 100, "the hand-over"),
        ((0, 0, 60, 70, 95, 2), 0, 100, "reading"),
        ((0, 0, 60, 70, 95, 40), 0, 100, "the network"),
        ((0, 0, 20, 70, 95, 10), 0, 100, "decoding and transforms"),
        ((0, 0, 20, 30, 95, 10), 0, 100, "collating"),
    ],
)
def test_the_slowest_stage_is_named(
    stages: tuple[float, ...], asked: float, got: float, slowest: str
) -> None:
    clock = Clock()
    clock.add(Stages(*stages, worker=0), asked, got, since=0)
    found = clock.stats(LoaderStats())
    assert found.bottleneck == slowest
    parts = found.fetch_seconds + found.read_seconds + found.decode_seconds
    assert parts + found.collate_seconds == stages[4] - stages[1]


def test_the_start_of_workers_is_no_bottleneck() -> None:
    clock = Clock()
    clock.add(Stages(90, 90, 91, 91, 91, 0, worker=0), 10, 91, since=10, first=True)
    for got in range(100, 200, 10):
        clock.add(Stages(0, 0, 1, 1, 1, 0, worker=0), got, got, since=got - 10)
    found = clock.stats(LoaderStats())
    assert (found.waited_seconds, found.started_seconds) == (81, 80)
    assert found.bottleneck == "the trainer"
    assert "waited 81.00 s (45%), 80.00 s of them for workers to start" in str(found)


@pytest.mark.parametrize("starts", [True, False])
def test_the_trainer_makes_batches_until_workers_have_started_in_any_epoch(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, starts: bool
) -> None:
    monkeypatch.setattr(Crew, "rouse", lambda crew, task: lambda: starts)
    one = loader(
        folder,
        num_workers=1,
        persistent_workers=True,
        profile_skip_batches=10,
        profile_batches=10,
        profile_dir=tmp_path,
    )
    assert len(list(one)) == len(list(one)) == 10
    events = json.loads((tmp_path / "result.json").read_text())["traceEvents"]
    made = {event["tid"] for event in events if event.get("name") == "read"}
    assert made == ({1} if starts else {0})


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_a_trace_of_some_batches(folder: Path, tmp_path: Path, way: dict[str, Any]) -> None:
    one = loader(
        folder, profile_batches=4, profile_skip_batches=3, profile_dir=tmp_path / "p", **way
    )
    result = tmp_path / "p" / "result.json"
    batches = iter(one)
    for _ in range(6):
        next(batches)
        assert not result.exists()
    next(batches)
    events = json.loads(result.read_text())["traceEvents"]
    names = {event["args"]["name"] for event in events if event["ph"] == "M"}
    assert names <= {"trainer"} | ({"worker 0", "worker 1"} if way else set())
    spans = [event for event in events if event["ph"] == "X"]
    assert {span["args"]["step"] for span in spans} == {3, 4, 5, 6}
    assert {"read", "collate", "hand-over"} <= {span["name"] for span in spans}
    assert all(span["ts"] >= 0 and span["dur"] > 0 for span in spans)
    threads = {event["tid"] for event in events if event["ph"] == "M"}
    for step in (3, 4, 5, 6):
        of_step = [span for span in spans if span["args"]["step"] == step]
        waits = {s["tid"] for s in of_step if s["name"] in ("wait", "hand-over")}
        makes = {s["tid"] for s in of_step if s["name"] in ("fetch", "read", "decode", "collate")}
        assert waits == {0}
        assert len(makes) == 1 and makes <= threads
    written = result.stat().st_mtime_ns
    list(one)
    assert result.stat().st_mtime_ns == written


def test_a_short_epoch_ends_a_trace(folder: Path, tmp_path: Path) -> None:
    list(loader(folder, profile_batches=400, profile_dir=tmp_path))
    spans = json.loads((tmp_path / "result.json").read_text())["traceEvents"]
    assert {span["args"]["step"] for span in spans if span["ph"] == "X"} == set(range(10))


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_replay_gives_the_first_batches_again_and_again(folder: Path, way: dict[str, Any]) -> None:
    expected = [batch["id"] for batch in loader(folder)]
    one = loader(folder, replay=3, **way)
    for _ in range(2):
        one.set_epoch(0)
        ids = [batch["id"] for batch in one]
        assert len(ids) == len(one) == 10
        assert all(torch.equal(got, expected[n % 3]) for n, got in enumerate(ids))
    assert one.stats().batches == 6
    for refused in (one.state_dict, one.coverage):
        with pytest.raises(errors.UsageError, match="replay=3"):
            refused()
    assert len(list(loader(folder, replay=30, **way))) == 10


@pytest.mark.parametrize(
    "options", [{"replay": 0}, {"profile_batches": -1}, {"profile_skip_batches": -1}], ids=str
)
def test_numbers_that_make_no_sense(folder: Path, options: dict[str, int]) -> None:
    with pytest.raises(errors.UsageError, match=next(iter(options))):
        loader(folder, **options)
