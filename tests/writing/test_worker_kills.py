"""Workers and parents that are killed: no process is left, nothing is lost, nothing is half."""

from __future__ import annotations

import json
import os
import signal
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kills import kill_at, live, tree

import millstream as ms
from millstream.execution import processes
from millstream.execution.worker import Worker
from millstream.writing import tasks

pytestmark = pytest.mark.timeout(200)

INPUTS = 40


def fn(plan: Path, i: int) -> dict[str, Any]:
    """Writes down that it was called; obeys one of the orders in the plan, if there are any."""
    with (plan / "calls").open("a") as file:
        file.write(f"{i}\n")
    taken = plan / f"taken by {os.getpid()}"
    for order in sorted(plan.glob("order-*")):
        with suppress(FileNotFoundError):  # another worker has it
            if not taken.exists():
                order.rename(taken)
                obey(plan, order.name)
    return {"id": i, "n": np.full(i % 3, i), "text": f"{i}" * (20 * (i % 5 + 1))}


def obey(plan: Path, order: str) -> None:
    if order == "order-wait":
        (plan / "gate").read_bytes()  # until another worker is at the gate too
    if order == "order-open":
        (plan / "gate").write_bytes(b"")
    number = order.removeprefix("order-")
    if number.isdigit():
        kill_at(int(number), plan.parent / "d")
    else:
        os.kill(os.getpid(), signal.SIGKILL)


class Case:
    """A job with a plan, and what it leaves undisturbed."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.plan = folder / "d", folder / "plan"
        self.plan.mkdir()
        self.job(folder / "whole", 0)
        self.whole = tree(folder / "whole")
        self.calls()

    def job(self, folder: Path, workers: int) -> Any:
        return ms.optimize(
            partial(fn, self.plan),
            range(INPUTS),
            folder,
            num_workers=workers,
            chunk_bytes="1500B",
            verbose=False,
        )

    def calls(self) -> list[int]:
        """The inputs that fn was called with since this was last asked, in their order."""
        path = self.plan / "calls"
        found = sorted(map(int, path.read_text().split())) if path.exists() else []
        path.unlink(missing_ok=True)
        return found

    def done(self) -> set[int]:
        """The tasks that need not be done again, by what is on the disk."""
        job = self.folder / ".job"
        found, chunk = {int(path.name) for path in job.glob("segments/*")}, 0
        while (record := job / f"chunks/{chunk:06}.json").exists():
            found |= set(range(json.loads(record.read_text())["stop"][0]))
            chunk += 1
        return found

    def finish(self) -> None:
        """Runs the job to its end: fn is called for what is missing alone."""
        published = (self.folder / "versions/000000000001").exists()
        missing = [] if published else [i for i in range(INPUTS) if i // 2 not in self.done()]
        self.calls()
        report = self.job(self.folder, 0)
        assert self.calls() == missing
        assert report.already_done == published
        assert tree(self.folder) == self.whole


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    monkeypatch.setattr(tasks, "MAX_TASKS", INPUTS // 2)
    return Case(tmp_path)


@pytest.mark.parametrize(
    "orders",
    [
        ["now"],
        ["wait", "open"],  # all workers at once
        ["1", "2"],
        ["3"],
        ["4", "6"],
        ["5"],
        ["9", "14"],
    ],
    ids=" ".join,
)
def test_the_task_of_a_killed_worker_is_done_by_another(
    case: Case, orders: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Worker] = []
    monkeypatch.setattr(
        processes,
        "Worker",
        lambda begin, number: started.append(Worker(begin, number)) or started[-1],
    )
    os.mkfifo(case.plan / "gate")
    for order in orders:
        (case.plan / f"order-{order}").touch()
    report = case.job(case.folder, 2)
    killed = [w.process.returncode for w in started].count(-signal.SIGKILL)
    assert (len(started), killed) == (2 + len(orders), len(orders))
    assert tree(case.folder) == case.whole
    assert report.samples == INPUTS
    calls = case.calls()
    assert set(calls) == set(range(INPUTS))
    assert len(calls) <= INPUTS + 2 * len(orders)  # a killed worker loses one task of two inputs


@pytest.mark.parametrize("group", [False, True], ids=["parent", "both"])
@pytest.mark.parametrize("number", [6, 14, 22, 30, 40, 55, 70])
def test_a_killed_parent_takes_its_workers_along(case: Case, number: int, group: bool) -> None:
    life = live(lambda: case.job(case.folder, 2), case.folder, number, group=group)
    assert life.killed
    case.finish()
