"""Worker processes that do a stream of tasks, whose results come in the order of the tasks."""

from __future__ import annotations

import itertools
import math
import os
import pickle
import select
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from millstream.errors import UsageError, WorkerDied, WorkerTimeout
from millstream.execution.memory import free_memory
from millstream.execution.protocol import Outcome
from millstream.execution.ring import Budget, Ring
from millstream.execution.worker import Worker, pickled

R = TypeVar("R")
Empty = Callable[[tuple[int, ...], np.dtype[Any]], npt.NDArray[Any]]

# Batches that the consumer holds may take this part of the memory that is free at the start.
HELD_PART = 4


class Crew(Generic[R]):
    """So many workers; task n of a stream is done by worker n mod that number.

    begin: called once in each worker, with the worker's number, for the function that does its
    tasks; it gets a task, and what makes arrays in the slot by which its result comes. ahead: how
    many tasks a worker may have done, or have to do, beyond what was asked for. limit: bytes of
    results that may be held before they are copied; by default a quarter of the free memory.
    Whoever makes one closes it.
    """

    def __init__(
        self,
        begin: Callable[[int], Callable[[Any, Empty], R]],
        *,
        workers: int,
        ahead: int,
        limit: int | None = None,
    ) -> None:
        if workers < 1 or ahead < 1:
            raise UsageError(f"{workers} workers, {ahead} tasks ahead; both at least 1")
        content = pickled(begin, "the dataset or a function of its loader")
        self._most = workers * ahead
        self._tags = itertools.count()
        self._owner = os.getpid()
        self._workers: list[Worker] = []
        self._answered = select.poll()
        self._budget = Budget(free_memory() // HELD_PART if limit is None else limit)
        try:
            for number in range(workers):
                self._workers.append(Worker(content, number, Ring(self._budget)))
                self._answered.register(self._workers[-1].socket, select.POLLIN)
        except BaseException:
            self.close()
            raise

    @property
    def usable(self) -> bool:
        """Whether a stream may begin: all workers were alive, and are this process's own."""
        return bool(self._workers) and os.getpid() == self._owner

    def results(self, tasks: Iterable[Any], *, timeout: float | None = None) -> Iterator[R]:
        """The result of each task, in order; a later stream makes the rest of this one void.

        Raises what a task raised, in its turn; WorkerDied, which names the worker and its task,
        as soon as a worker's end is seen; WorkerTimeout when a result takes more than `timeout`
        seconds from when it is asked for. After any of these the workers are gone.
        """
        try:
            yield from self._results(tasks, timeout)
        except GeneratorExit:  # the stream is left early: what is under way will not be heard
            raise
        except BaseException:  # also between two halves of a message
            self.close()
            raise

    def _results(self, tasks: Iterable[Any], timeout: float | None) -> Iterator[R]:
        todo = enumerate(tasks)
        under_way: dict[int, Any] = {}  # by tag, in the order of the stream
        done: dict[int, Outcome[R]] = {}
        for number, task in itertools.islice(todo, self._most):
            self._give(number, task, under_way)
        while under_way:
            tag, task = next(iter(under_way.items()))
            self._await(tag, task, under_way, done, timeout)
            result = done.pop(tag).result()
            del under_way[tag]
            for number, later in itertools.islice(todo, 1):
                self._give(number, later, under_way)
            yield result

    def _give(self, number: int, task: Any, under_way: dict[int, Any]) -> None:
        tag = next(self._tags)
        under_way[tag] = task
        self._workers[number % len(self._workers)].give(tag, pickle.dumps(task))

    def _await(
        self,
        tag: int,
        task: Any,
        under_way: dict[int, Any],
        done: dict[int, Outcome[R]],
        timeout: float | None,
    ) -> None:
        """Returns when the task is done; what others have answered is taken on the way."""
        deadline = None if timeout is None else time.monotonic() + timeout
        self._hear(under_way, done, 0)
        while tag not in done:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not self._hear(under_way, done, left):
                raise WorkerTimeout(f"{task} was not there after {timeout:g} seconds")

    def _hear(
        self, under_way: dict[int, Any], done: dict[int, Outcome[R]], timeout: float | None
    ) -> bool:
        """Takes what workers have answered; False if none did within the time."""
        events = self._answered.poll(None if timeout is None else math.ceil(1000 * timeout))
        ready = [worker for fd, _ in events for worker in self._workers if worker.fileno() == fd]
        for worker in ready:
            outcome = worker.hear()
            if outcome is None:
                raise WorkerDied(self._obituary(worker, under_way))
            if outcome.tag in under_way:  # else it belongs to a stream that was left early
                done[outcome.tag] = outcome
        return bool(ready)

    def _obituary(self, worker: Worker, under_way: dict[int, Any]) -> str:
        worker.end(kill=True)
        number, workers = self._workers.index(worker), len(self._workers)
        task = next((f"at {under_way[tag]}" for tag in worker.tags if tag in under_way), "idle")
        return (
            f"worker {number} of {workers} (process {worker.process.pid}) {worker.death()}, {task}"
        )

    def close(self) -> None:
        """Ends all workers at once."""
        workers, self._workers = self._workers, []
        self._answered = select.poll()
        for worker in workers:
            worker.end(kill=True)
