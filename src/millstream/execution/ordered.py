"""Tasks that several workers do, whose results come in the order of the tasks."""

from __future__ import annotations

import itertools
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

from millstream.errors import UsageError, WorkerTimeout
from millstream.execution.protocol import Outcome

R = TypeVar("R")


class Ordered(ABC, Generic[R]):
    """So many workers; task n of a stream is done by worker n mod that number.

    ahead: how many tasks a worker may have done, or have to do, beyond what was asked for. Whoever
    makes one closes it.
    """

    def __init__(self, *, workers: int, ahead: int) -> None:
        if workers < 1 or ahead < 1:
            raise UsageError(f"{workers} workers, {ahead} tasks ahead; both at least 1")
        self._count, self._most = workers, workers * ahead
        self._tags = itertools.count()

    @property
    @abstractmethod
    def usable(self) -> bool:
        """Whether a stream may begin: all workers are there, and this process's own."""

    @abstractmethod
    def close(self) -> None:
        """Ends all workers."""

    @abstractmethod
    def _break(self) -> None:
        """Ends all workers after an error; waits for none that may be stuck."""

    @abstractmethod
    def _send(self, worker: int, tag: int, task: Any) -> None:
        """Has a worker do a task."""

    @abstractmethod
    def _hear(self, under_way: dict[int, Any], timeout: float | None) -> list[Outcome[R]]:
        """What workers have answered; nothing if none did within the seconds, None: for ever.

        under_way: by tag, to tell what a worker was at. Raises WorkerDied.
        """

    def rouse(self, task: Any) -> Callable[[], bool]:
        """Gives each worker a task whose result does not matter; tells whether all have done it.

        What is returned never waits. It raises what a worker raised, or WorkerDied; after that
        the workers are gone.
        """
        under_way: dict[int, Any] = {}
        done: dict[int, Outcome[R]] = {}
        for number in range(self._count):
            self._give(number, task, under_way)

        def are_awake() -> bool:
            try:
                while len(done) < len(under_way) and self._take(under_way, done, 0):
                    pass
                for outcome in done.values():
                    outcome.result()
            except BaseException:
                self._break()
                raise
            return len(done) == len(under_way)

        return are_awake

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
            self._break()
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
            del under_way[tag]
            for number, later in itertools.islice(todo, 1):
                self._give(number, later, under_way)
            yield done.pop(tag).result()  # in no variable, which would hold it too long

    def _give(self, number: int, task: Any, under_way: dict[int, Any]) -> None:
        tag = next(self._tags)
        under_way[tag] = task
        self._send(number % self._count, tag, task)

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
        self._take(under_way, done, 0)
        while tag not in done:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not self._take(under_way, done, left):
                raise WorkerTimeout(
                    f"{task} was not there after {timeout:g} seconds; allow for more (timeout=), "
                    "or see what it is at: SIGUSR1 makes a worker process print that to stderr"
                )

    def _take(
        self, under_way: dict[int, Any], done: dict[int, Outcome[R]], timeout: float | None
    ) -> bool:
        outcomes = self._hear(under_way, timeout)
        for outcome in outcomes:
            if outcome.tag in under_way:  # else it belongs to a stream that was left early
                done[outcome.tag] = outcome
        return bool(outcomes)
