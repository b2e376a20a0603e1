"""Turns of several steps: all steps once, in order, and an error in its own turn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import millstream as ms
from millstream.errors import CorruptData
from millstream.execution.crew import Crew
from millstream.reading.stats import Stages
from millstream.reading.steps import Failed, Made
from millstream.torch import pace as paces
from millstream.torch.pace import MOST_STEPS, TURN_SECONDS, Pace

QUICK, SLOW = TURN_SECONDS / 100, TURN_SECONDS * 100


def made(seconds: float) -> Made:
    stages = Stages(free=0, begun=0, read=0, decoded=0, made=seconds, network=0, worker=0)
    return Made(batch=None, taken=np.zeros(0, np.int64), stages=stages, stats=None)


@given(
    st.integers(0, 50),
    st.integers(0, 200),
    st.integers(1, 40),
    st.lists(st.sampled_from([QUICK, TURN_SECONDS / 3, SLOW]), min_size=1),
)
def test_turns_are_all_steps_in_order_whatever_they_take(
    first: int, count: int, most: int, seconds: list[float]
) -> None:
    pace, steps = Pace(most=most), []
    for number, turn in enumerate(pace.turns(3, 0, range(first, first + count))):
        assert 1 <= turn.count <= most
        steps += range(turn.first, turn.first + turn.count)
        pace.saw([made(seconds[number % len(seconds)])] * turn.count)
    assert steps == list(range(first, first + count))


def test_turns_grow_while_steps_are_quick_and_shrink_when_they_are_slow() -> None:
    pace = Pace(most=MOST_STEPS)
    for _ in range(9):
        pace.saw([made(QUICK)])
    assert pace.count == MOST_STEPS
    pace.saw([made(TURN_SECONDS / MOST_STEPS), Failed(CorruptData("x"))])
    assert pace.count == MOST_STEPS
    for _ in range(9):
        pace.saw([made(SLOW)])
    assert pace.count == 1


@pytest.mark.parametrize("options", [{}, {"workers": "threads"}])
def test_what_came_before_a_bad_batch_of_the_same_turn_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, str]
) -> None:
    ms.optimize(np.int64, range(40_000), tmp_path / "d", num_workers=0, verbose=False)
    (chunk,) = (tmp_path / "d" / "chunks").iterdir()
    content = bytearray(chunk.read_bytes())
    content[-8] ^= 1  # the last row
    chunk.write_bytes(content)
    monkeypatch.setattr(paces, "TURN_SECONDS", 100)  # turns grow, however slow this machine is
    dataset = ms.StreamingDataset(tmp_path / "d", shuffle=False)
    loader = ms.StreamingDataLoader(dataset, batch_size=100, num_workers=2, **options)
    got: list[int] = []

    def read() -> None:
        for batch in loader:
            got.extend(batch.tolist())

    with pytest.raises(CorruptData, match="rows"):
        read()
    # The last page of the column begins with row 32,768.
    assert got == list(range(32_700))
    assert loader.state_dict()["position"] == len(got)


def test_users_functions_get_one_step_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ms.optimize(np.int64, range(400), tmp_path / "d", num_workers=0, verbose=False)
    monkeypatch.setattr(paces, "TURN_SECONDS", 100)
    counts: list[int] = []
    turns = Pace.turns

    def noting(self: Pace, *arguments: object) -> object:
        for turn in turns(self, *arguments):  # type: ignore[arg-type]
            counts.append(turn.count)
            yield turn

    monkeypatch.setattr(Pace, "turns", noting)
    monkeypatch.setattr(Crew, "rouse", lambda crew, task: lambda: True)
    for options in ({}, {"collate_fn": list}):
        dataset = ms.StreamingDataset(tmp_path / "d")
        loader = ms.StreamingDataLoader(
            dataset, batch_size=4, num_workers=1, persistent_workers=True, **options
        )
        list(loader)
        assert sum(counts) == (100 if options else 99)  # before that the worker was not there
        counts.clear()
        list(loader)
        assert sum(counts) == 100
        assert (max(counts) > 1) == (not options)
        counts.clear()


@pytest.mark.parametrize("options", [{}, {"collate_fn": list}])
def test_a_trainer_does_not_wait_for_new_workers_where_it_can_do_without(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    ms.optimize(np.int64, range(50), tmp_path / "d", num_workers=0, verbose=False)
    dataset = ms.StreamingDataset(tmp_path / "d")
    loader = ms.StreamingDataLoader(
        dataset, batch_size=10, num_workers=2, profile_batches=1, profile_dir=tmp_path, **options
    )
    assert len(list(loader)) == 5
    spans = json.loads((tmp_path / "result.json").read_text())["traceEvents"]
    (thread,) = {span["tid"] for span in spans if span["name"] == "read"}
    assert thread == (1 if options else 0)
