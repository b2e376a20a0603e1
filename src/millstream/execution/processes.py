"""Tasks are done by worker processes, each by whoever is free.

Each worker has one task to run and, if they are quick, one more waiting in its socket, so that it
need not wait for the parent.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import wait as wait_readable
from typing import Any, ClassVar, Generic, TypeVar

from millstream.errors import UsageError, WorkerDied
from millstream.execution.pickling import pickled
from millstream.execution.protocol import Outcome, Session
from millstream.execution.worker import Worker

R = TypeVar("R")

# Where tasks are quick a worker has one running and one waiting, which is there when the first
# ends. A waiting task cannot be given to another worker, so where they are slow none waits.
QUICK_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Processes:
    """The executor of so many worker processes on this machine."""

    workers: int
    apart: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise UsageError(f"{self.workers} worker processes; at least 1")

    @contextmanager
    def open(self, work: Callable[[Any], R]) -> Iterator[Session[R]]:
        """A session of worker processes; raises NotPicklable if `work` cannot travel."""
        pool: _Pool[R] = _Pool(pickled(_Always(work), "the function"), self.workers)
        try:
            yield pool
        except BaseException:
            pool.kill()
            raise
        finally:
            pool.close()


@dataclass(frozen=True, slots=True)
class _Always(Generic[R]):
    """Begins with the same function in every worker."""

    work: Callable[[Any], R]

    def __call__(self, number: int) -> Callable[[Any], R]:
        return self.work


class _Pool(Generic[R]):
    def __init__(self, begin: bytes, workers: int) -> None:
        self._begin = begin
        self._workers: list[Worker] = []
        self._contents: dict[int, bytes] = {}
        self._begun: dict[int, float] = {}
        self._waiting = 0  # tasks a worker, besides the one that runs
        self._ended: deque[Outcome[R]] = deque()
        try:
            for number in range(workers):
                self._workers.append(Worker(begin, number))
        except BaseException:
            self.kill()
            self.close()
            raise

    @property
    def free(self) -> int:
        # Each by itself: tasks that wait behind a slow one must not count for an idle worker.
        return sum(max(0, 1 + self._waiting - len(worker.tags)) for worker in self._workers)

    def submit(self, tag: int, task: Any) -> None:
        self._contents[tag] = pickled(task, "an input")
        self._give(tag)

    def _give(self, tag: int) -> None:
        worker = min(self._workers, key=lambda worker: len(worker.tags))
        self._begun[tag] = time.monotonic()
        worker.give(tag, self._contents[tag])

    def wait(self) -> Outcome[R]:
        if not self._contents and not self._ended:
            raise RuntimeError("no task is under way")
        while not self._ended:
            for worker in wait_readable(self._workers):  # type: ignore[arg-type]
                self._hear(worker)  # type: ignore[arg-type]
        return self._ended.popleft()

    def _hear(self, worker: Worker) -> None:
        outcome = worker.hear()
        if outcome is None:
            self._bury(worker)
            return
        del self._contents[outcome.tag]
        seconds = time.monotonic() - self._begun.pop(outcome.tag)
        self._waiting = int(seconds < QUICK_SECONDS * (1 + self._waiting))
        self._ended.append(outcome)

    def _bury(self, worker: Worker) -> None:
        """A worker is gone: the task it ran has failed, the next one goes to another worker."""
        worker.end(kill=True)
        number = self._workers.index(worker)
        self._workers[number] = Worker(self._begin, number)
        if worker.tags:
            running = worker.tags.popleft()
            del self._contents[running], self._begun[running]
            died = WorkerDied(f"a worker process {worker.death()} in the middle of a task")
            self._ended.append(Outcome(tag=running, error=died))
        for tag in worker.tags:
            self._give(tag)

    def kill(self) -> None:
        """Ends all workers at once, whatever they do."""
        for worker in self._workers:
            worker.process.kill()

    def close(self) -> None:
        """Ends all workers; an idle one sees the end of its socket."""
        for worker in self._workers:
            worker.end(kill=bool(worker.tags))
        self._workers.clear()
