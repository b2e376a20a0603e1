"""Tasks that several workers do, each by whoever is free, and what becomes of them if one dies.

Each worker has one task to run and, if they are quick, perhaps one more waiting at it, so that
it need not wait for the parent. Tasks that no worker has room for wait here, for the first that
has.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from millstream.errors import WorkerDied
from millstream.execution.pickling import pickled
from millstream.execution.protocol import Outcome

R = TypeVar("R")

# Where tasks are quick a worker has one running and one waiting, which is there when the first
# ends. A waiting task cannot be given to another worker, so where they are slow none waits.
QUICK_SECONDS = 0.1
# A task at which so many workers were lost, without its fault as far as anyone knows, has failed.
LOST_TIMES = 3


@dataclass(frozen=True, slots=True)
class Always(Generic[R]):
    """Begins with the same function in every worker."""

    work: Callable[[Any], R]

    def __call__(self, number: int) -> Callable[[Any], R]:
        return self.work


class PoolWorker(Protocol):
    """What a pool asks of a worker. tags: of the tasks that it was given, the running one first."""

    tags: deque[int]

    def give(self, tag: int, task: bytes) -> None:
        """Has a pickled task done, after those that were given before."""

    def hear(self) -> Outcome[Any] | None:
        """The next answer; None if the worker is gone."""

    def end(self, *, kill: bool) -> None:
        """Ends the worker, an idle one without `kill` too."""

    def death(self) -> str | None:
        """How it ended, in words; None if what it was at has no part in that."""


W = TypeVar("W", bound=PoolWorker)


class Pool(ABC, Generic[R, W]):
    """A session; who makes one closes it. `workers`: those that take tasks now."""

    # Whether a quick task may wait at a worker: only where answers outlive a worker that dies at
    # the next task, or else it could not be said which of the two it died at.
    answers_last = True

    def __init__(self) -> None:
        self.workers: list[W] = []
        self._contents: dict[int, bytes] = {}
        self._begun: dict[int, float] = {}
        self._waiting = 0  # tasks a worker, besides the one that runs
        self._queue: deque[int] = deque()  # of no worker yet
        self._lost: Counter[int] = Counter()
        self._ended: deque[Outcome[R]] = deque()

    @abstractmethod
    def _answered(self) -> Iterable[W]:
        """The workers that have answered or are gone; blocks until something has happened."""

    @abstractmethod
    def _replace(self, worker: W) -> None:
        """Takes a worker that has ended out of `workers`, and has another one in its place."""

    @property
    def _coming(self) -> int:
        """Workers that will soon take tasks."""
        return 0

    @property
    def free(self) -> int:
        # One for each worker that is about to come: it finds its task here, if no other took it.
        room = sum(self._room(worker) for worker in self.workers) + self._coming
        return max(0, room - len(self._queue))

    def _room(self, worker: W) -> int:
        # Each by itself: tasks that wait behind a slow one must not count for an idle worker.
        return max(0, 1 + self._waiting - len(worker.tags))

    def submit(self, tag: int, task: Any) -> None:
        self._contents[tag] = pickled(task, "an input")
        self._queue.append(tag)
        self._hand_out()

    def _hand_out(self) -> None:
        while self._queue and self.workers:
            worker = min(self.workers, key=lambda worker: len(worker.tags))
            if not self._room(worker):
                break
            tag = self._queue.popleft()
            self._begun[tag] = time.monotonic()
            worker.give(tag, self._contents[tag])

    def wait(self) -> Outcome[R]:
        if not self._contents and not self._ended:
            raise RuntimeError("no task is under way")
        while not self._ended:
            for worker in self._answered():
                self._hear(worker)
            self._hand_out()
        return self._ended.popleft()

    def _hear(self, worker: W) -> None:
        outcome = worker.hear()
        if outcome is None:
            self._bury(worker)
            return
        seconds = time.monotonic() - self._begun[outcome.tag]
        quick = seconds < QUICK_SECONDS * (1 + self._waiting)
        self._waiting = int(quick and self.answers_last)
        self._end(outcome)

    def _end(self, outcome: Outcome[R]) -> None:
        del self._contents[outcome.tag], self._begun[outcome.tag]
        self._lost.pop(outcome.tag, None)
        self._ended.append(outcome)

    def _bury(self, worker: W) -> None:
        """A worker is gone: what it ran has failed, if it may be why; the rest goes to others."""
        worker.end(kill=True)
        death, tags = worker.death(), deque(worker.tags)
        if death is None and tags:
            self._lost[tags[0]] += 1
            if self._lost[tags[0]] == LOST_TIMES:
                death = f"was lost with its machine, as {LOST_TIMES - 1} before it"
        self._replace(worker)
        if death is not None and tags:
            died = WorkerDied(f"a worker process {death} in the middle of a task")
            self._end(Outcome(tag=tags.popleft(), error=died))
        self._queue.extendleft(reversed(tags))

    def kill(self) -> None:
        """Ends all workers at once, whatever they do."""
        for worker in self.workers:
            worker.end(kill=True)
        self.workers.clear()

    def close(self) -> None:
        """Ends all workers, at once those that are at a task which nobody waits for any more."""
        for worker in self.workers:
            worker.end(kill=bool(worker.tags))
        self.workers.clear()
