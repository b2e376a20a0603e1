"""Hands units of work to workers: those whose workers died again, until one has killed three.

A unit that fails ends the run once the tasks before it have ended, which were handed out earlier:
so the error is that of the first bad input, for any number of workers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from millstream.errors import MillstreamError, WorkerDied
from millstream.execution.protocol import Outcome, Session
from millstream.writing.tasks import Task

# A task whose worker dies is given to another worker; a task that kills three is at fault.
MAX_DEATHS = 3

U = TypeVar("U", bound=Hashable)


@dataclass(frozen=True, slots=True)
class _Failed:
    """The lowest task that failed so far."""

    task: int
    error: MillstreamError


class Progress(Protocol):
    """Told how far the job is."""

    def advance(self, inputs: int, samples: int, nbytes: int) -> None:
        """So many more inputs are done, and gave so many samples and bytes."""


class UnitRun(ABC, Generic[U]):
    """Units, some of which are tasks; `_queue` goes before what is still to come."""

    def __init__(self) -> None:
        self._queue: deque[U] = deque()
        self._running: dict[int, U] = {}
        self._deaths: Counter[U] = Counter()
        self._failed: _Failed | None = None
        self._units = 0

    @abstractmethod
    def _next_unit(self) -> U | None:
        """What to do next, while nothing has failed."""

    @abstractmethod
    def _message(self, unit: U) -> Any:
        """What a worker is told to do."""

    @abstractmethod
    def _done(self, unit: U, made: Any) -> None:
        """Takes what a worker has made."""

    @abstractmethod
    def _describe(self, unit: U) -> str:
        """What it is, in words."""

    def _tick(self) -> None:
        """Is called whenever a unit has ended."""

    def _run_units(self, session: Session[Any]) -> None:
        while True:
            while session.free and (unit := self._unit()) is not None:
                self._units += 1
                self._running[self._units] = unit
                session.submit(self._units, self._message(unit))
            if self._failed and not _before(self._failed.task, self._running.values()):
                raise self._failed.error
            if not self._running:
                return
            self._take(session.wait())
            self._tick()

    def _unit(self) -> U | None:
        """After a failure only tasks before it whose workers died are left."""
        if not self._failed:
            return self._next_unit()
        again = _before(self._failed.task, self._queue)
        if again:
            self._queue.remove(again[0])
        return again[0] if again else None

    def _take(self, outcome: Outcome[Any]) -> None:
        unit = self._running.pop(outcome.tag)
        try:
            made = outcome.result()
        except WorkerDied as error:
            self._deaths[unit] += 1
            if self._deaths[unit] < MAX_DEATHS:
                self._queue.appendleft(unit)
            else:
                said = f"{self._describe(unit)}: {MAX_DEATHS} workers died: {error}"
                self._fail(unit, WorkerDied(said))
        except MillstreamError as error:
            self._fail(unit, error)
        else:
            self._done(unit, made)

    def _fail(self, unit: U, error: MillstreamError) -> None:
        if not isinstance(unit, Task):
            raise error
        if self._failed is None or unit.number < self._failed.task:
            self._failed = _Failed(unit.number, error)


def inputs_of(task: Task) -> str:
    """Which these are, in words."""
    return f"inputs {task.start} to {task.stop - 1}"


def _before(task: int, units: Iterable[U]) -> list[U]:
    return [unit for unit in units if isinstance(unit, Task) and unit.number < task]
