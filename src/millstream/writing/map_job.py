"""Runs a map: hands tasks to workers, sees to it that no two inputs write one file, and what is
noted of a task before its files are in their places.

A note says names and sizes. Those of its files that a listing of the output has are done; so a
later run of the job, wherever it is, does what is missing, and a finished one finds nothing to do.
"""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from millstream.errors import MillstreamError, OutputNotEmpty, WorkerDied
from millstream.execution.protocol import Executor, Outcome
from millstream.writing.folder import JobFolder
from millstream.writing.made import Made
from millstream.writing.map_work import LandTask, MapWork, Ran, RunTask
from millstream.writing.placed import read_object
from millstream.writing.segment import Skipped
from millstream.writing.tasks import portions
from millstream.writing.units import MAX_DEATHS, Progress
from millstream.writing.urls import short

# The inputs of a task are noted together. Few are lost with a machine, few notes are to be read.
TASKS = 1_024
MOST_INPUTS = 64


@dataclass(frozen=True, slots=True)
class MapTask:
    """The inputs start to stop. weight: of all of them; 0 if nothing is known of it."""

    number: int
    start: int
    stop: int
    weight: float


def map_tasks(inputs: int, weights: Sequence[float] | None) -> list[MapTask]:
    """The tasks of so many inputs, each of about the same weight; fixed by these alone."""
    most = max(1, min(-(-inputs // TASKS), MOST_INPUTS))
    runs = enumerate(portions(inputs, weights, most, TASKS))
    return [MapTask(number, *run) for number, run in runs]


@dataclass(slots=True)
class Noted:
    """What is known of a task. done: the files of its inputs, by index; failed: what was said."""

    done: dict[int, Made] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """JSON, for `read_noted`."""
        done = {index: made.files for index, made in self.done.items()}
        return json.dumps({"done": done, "failed": self.failed}).encode()


def read_noted(content: bytes) -> Noted:
    """The inverse of `to_bytes`; nothing for what a power cut left of one."""
    value = read_object(content) or {"done": {}, "failed": {}}
    done = {
        int(index): Made(index=int(index), files=tuple((name, size) for name, size in files))
        for index, files in value["done"].items()
    }
    return Noted(done=done, failed={int(index): said for index, said in value["failed"].items()})


Unit = RunTask | LandTask


class MapRun:
    """One run of a map, from whatever is there to all files in their places.

    there: the names that the output held before the job and that must stay as they are.
    """

    def __init__(
        self,
        folder: JobFolder,
        inputs: Sequence[Any],
        tasks: Sequence[MapTask],
        *,
        there: frozenset[str],
        skip_errors: bool,
        progress: Progress,
    ) -> None:
        self._folder, self._inputs, self._tasks = folder, inputs, tasks
        self._there, self._skip_errors, self._progress = there, skip_errors, progress
        self._noted: dict[int, Noted] = {}
        self._owners: dict[str, int] = {}  # the input that writes a file of this name
        self._land: deque[LandTask] = deque()
        self._again: deque[tuple[int, RunTask]] = deque()
        self._running: dict[int, tuple[int, Unit]] = {}
        self._deaths: Counter[int] = Counter()
        self._errors: dict[int, MillstreamError] = {}  # by input
        self._units = 0
        self.ran = 0  # inputs that were not done before this run

    def resume(
        self,
        sizes: Mapping[str, int],
        before: frozenset[str],
        notes: Iterable[tuple[int, bytes]],
    ) -> None:
        """Takes over what earlier runs have done.

        sizes: of the files of the output, by name. before: the names there when the job began.
        """
        for number, content in notes:
            noted = self._noted[number] = read_noted(content)
            for index, made in list(noted.done.items()):
                if all(sizes.get(name) == size for name, size in made.files):
                    self._own(made)
                    self._progress.advance(1, len(made.files), made.nbytes)
                else:
                    del noted.done[index]
                    self._remove_half(made, sizes.keys() - before)
            noted.failed.clear()  # what failed is tried again

    def _remove_half(self, made: Made, ours: Set[str]) -> None:
        """Of an input that was killed no file stays: fn may write others the next time."""
        for name, _ in made.files:
            if name in ours:
                self._folder.store.delete(name)

    def run(self, executor: Executor, work: MapWork) -> None:
        """Does what is missing. Of several inputs that failed meanwhile it names the first."""
        todo = self._missing()
        with executor.open(work) as session:
            while True:
                while session.free and (unit := self._unit(todo)) is not None:
                    self._units += 1
                    self._running[self._units] = unit
                    session.submit(self._units, unit[1])
                if not self._running:
                    break
                self._take(session.wait())
        if self._errors:
            raise self._errors[min(self._errors)]

    def _missing(self) -> Iterator[tuple[int, RunTask]]:
        for task in sorted(self._tasks, key=lambda task: -task.weight):
            done = self._noted.setdefault(task.number, Noted()).done
            indices = [index for index in range(task.start, task.stop) if index not in done]
            if indices:
                inputs = [self._inputs[index] for index in indices]
                yield task.number, RunTask(number=task.number, indices=indices, inputs=inputs)

    def _unit(self, todo: Iterator[tuple[int, RunTask]]) -> tuple[int, Unit] | None:
        """What to do next: what is made goes before what is still to be made, so little waits."""
        if self._land:
            land = self._land.popleft()
            return land.number, land
        if self._errors:
            return None
        return self._again.popleft() if self._again else next(todo, None)

    def _take(self, outcome: Outcome[Ran | None]) -> None:
        number, unit = self._running.pop(outcome.tag)
        try:
            ran = outcome.result()
        except WorkerDied as error:
            self._died(number, unit, error)
            return
        if isinstance(unit, LandTask):
            for made in unit.made:
                self._progress.advance(1, len(made.files), made.nbytes)
        elif ran is not None:
            self._ran(number, ran)

    def _died(self, number: int, unit: Unit, error: WorkerDied) -> None:
        self._deaths[number] += 1
        if self._deaths[number] >= MAX_DEATHS:
            task = self._tasks[number]
            self._errors[task.start] = WorkerDied(
                f"inputs {task.start} to {task.stop - 1}: {MAX_DEATHS} workers died: {error}"
            )
        elif isinstance(unit, LandTask):
            self._land.append(unit)
        else:
            self._again.append((number, unit))

    def _ran(self, number: int, ran: Ran) -> None:
        noted = self._noted[number]
        self.ran += len(ran.made) + len(ran.failed)
        landing = []
        for made in ran.made:
            error = self._conflict(made)
            if error is None:
                self._own(made)
                noted.done[made.index] = made
                landing.append(made)
            else:
                self._errors[made.index] = error
        for failed in ran.failed:
            noted.failed[failed.index] = failed.said
            if self._skip_errors:
                self._progress.advance(1, 0, 0)
            else:
                self._errors[failed.index] = failed.error
        self._land.append(LandTask(number=number, record=noted.to_bytes(), made=tuple(landing)))

    def _own(self, made: Made) -> None:
        self._owners.update((name, made.index) for name, _ in made.files)

    def _conflict(self, made: Made) -> OutputNotEmpty | None:
        """Why an input may not write what it wrote: somebody else's file would be replaced."""
        for name, _ in made.files:
            mine = f"input {made.index} ({short(self._inputs[made.index])})"
            owner = self._owners.get(name)
            if owner is not None and owner != made.index:
                other = f"input {owner} ({short(self._inputs[owner])})"
                return OutputNotEmpty(
                    f"{mine} and {other} both write {name}: let the name say which input it is "
                    f"from. The file of input {owner} is kept"
                )
            if name in self._there:
                return OutputNotEmpty(
                    f"{mine} writes {name}, which {self._folder.store} held before this job began. "
                    'Choose another output, or pass mode="overwrite"; the file was not changed'
                )
        return None

    def skipped(self) -> tuple[Skipped, ...]:
        """The inputs that failed, in their order."""
        failed = {i: said for noted in self._noted.values() for i, said in noted.failed.items()}
        return tuple(Skipped(input=i, error=failed[i], kept=0) for i in sorted(failed))

    @property
    def files(self) -> int:
        """How many there are, of all inputs."""
        return len(self._owners)

    @property
    def nbytes(self) -> int:
        """The bytes of these."""
        noted = self._noted.values()
        return sum(made.nbytes for some in noted for made in some.done.values())
