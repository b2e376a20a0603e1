"""A pool whose workers die as the test says: each task ends once; who is to blame is told."""

from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Iterable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from millstream.errors import WorkerDied
from millstream.execution.pool import LOST_TIMES, Pool
from millstream.execution.protocol import Outcome

Fate = str  # of a worker at its task: "answers", "dies" of it, or is "lost" with its machine


class Scripted:
    """A worker that meets its fates, one a task."""

    def __init__(self, fates: deque[Fate]) -> None:
        self.tags: deque[int] = deque()
        self._tasks: deque[bytes] = deque()
        self._fates = fates
        self._met = "answers"
        self.ended = False

    def give(self, tag: int, task: bytes) -> None:
        assert not self.ended
        self.tags.append(tag)
        self._tasks.append(task)

    def hear(self) -> Outcome[Any] | None:
        self._met = self._fates.popleft() if self._fates else "answers"
        if self._met != "answers":
            return None
        return Outcome(tag=self.tags.popleft(), value=pickle.loads(self._tasks.popleft()))

    def end(self, *, kill: bool) -> None:
        self.ended = True

    def death(self) -> str | None:
        return "died" if self._met == "dies" else None


class ScriptedPool(Pool[Any, Scripted]):
    """Hears the workers in turns."""

    def __init__(self, workers: int, fates: list[Fate]) -> None:
        super().__init__()
        self._fates = deque(fates)
        self.workers = [Scripted(self._fates) for _ in range(workers)]

    def _answered(self) -> Iterable[Scripted]:
        return [next(worker for worker in self.workers if worker.tags)]

    def _replace(self, worker: Scripted) -> None:
        self.workers.remove(worker)
        self.workers.append(Scripted(self._fates))


def run(pool: ScriptedPool, tasks: int) -> list[Outcome[Any]]:
    """All outcomes, in the order of the tasks."""
    submitted, done = 0, dict[int, Outcome[Any]]()
    while len(done) < tasks:
        while submitted < tasks and pool.free:
            pool.submit(submitted, 2 * submitted)
            submitted += 1
        outcome = pool.wait()
        assert outcome.tag not in done
        done[outcome.tag] = outcome
    return [done[tag] for tag in range(tasks)]


@given(
    st.integers(1, 5),
    st.integers(0, 30),
    st.lists(st.sampled_from(["answers", "dies", "lost"]), max_size=40),
)
def test_each_task_ends_once(workers: int, tasks: int, fates: list[Fate]) -> None:
    outcomes = run(ScriptedPool(workers, fates), tasks)
    failed = [outcome for outcome in outcomes if outcome.error is not None]
    assert {type(outcome.error) for outcome in failed} <= {WorkerDied}
    assert len(failed) <= fates.count("dies") + fates.count("lost") // LOST_TIMES
    assert [o.value for o in outcomes if o.error is None] == [
        2 * o.tag for o in outcomes if o.error is None
    ]
    if "lost" not in fates and len(fates) <= tasks:
        assert len(failed) == fates.count("dies")


def test_a_task_at_which_machine_after_machine_is_lost_has_failed() -> None:
    outcomes = run(ScriptedPool(1, ["lost"] * LOST_TIMES), 3)
    assert [type(outcome.error) for outcome in outcomes] == [WorkerDied, type(None), type(None)]
    assert "as 2 before it" in str(outcomes[0].error)
    outcomes = run(ScriptedPool(1, ["lost"] * (LOST_TIMES - 1)), 3)
    assert [outcome.result() for outcome in outcomes] == [0, 2, 4]


def test_tasks_beyond_what_is_free_wait_for_the_first_worker_that_has_room() -> None:
    pool = ScriptedPool(2, [])
    for tag in range(9):
        pool.submit(tag, tag)
    assert pool.free == 0
    assert sorted(pool.wait().tag for _ in range(9)) == list(range(9))
    assert pool.free >= 2
