"""Jobs that are run in shards: processes that know nothing of each other do a share each.

Every shard runs fn over its tasks, those whose number leaves its index when divided by the number
of shards, and leaves what it made where the others and the commit find it. Then it builds its
share of the chunks that are known by then.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from millstream.encryption import Cipher
from millstream.errors import UsageError
from millstream.execution.protocol import Executor
from millstream.writing.segment import Segment, Skipped
from millstream.writing.segments import Segments
from millstream.writing.tasks import Task
from millstream.writing.units import Progress, UnitRun, inputs_of
from millstream.writing.work import EncodeTask, Work


@dataclass(frozen=True, slots=True)
class Share:
    """Shard `index`, from 0, of `count`."""

    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def has(self, number: int) -> bool:
        """Whether a task or a chunk of this number is its own."""
        return number % self.count == self.index


def parse_share(value: object) -> Share | None:
    """From what the user wrote, "3/16"; raises UsageError."""
    if value is None:
        return None
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", value) if isinstance(value, str) else None
    if found is None or not int(found[1]) < int(found[2]):
        raise UsageError(
            f'shard is {value!r:.60}, expected INDEX/COUNT with an index from 0, such as "0/16" to '
            '"15/16"'
        )
    return Share(int(found[1]), int(found[2]))


@dataclass(slots=True)
class Encoded:
    """What a shard has made of its tasks, in this run and those before it. ran: tasks, in this."""

    samples: int = 0
    nbytes: int = 0
    skipped: tuple[Skipped, ...] = ()
    ran: int = 0

    def add(self, segment: Segment) -> None:
        """Counts a segment."""
        self.samples += segment.rows
        self.nbytes += segment.nbytes
        self.skipped += segment.skipped


class EncodeRun(UnitRun[Task]):
    """Has some tasks encoded whose segments are not there yet."""

    def __init__(
        self,
        segments: Segments,
        inputs: Sequence[Any],
        tasks: Sequence[Task],
        *,
        cipher: Cipher | None,
        progress: Progress,
    ) -> None:
        super().__init__()
        self._segments, self._inputs, self._cipher = segments, inputs, cipher
        self._progress = progress
        self._todo = self._missing(tasks)
        self._encoded = Encoded()

    def run(self, executor: Executor, work: Work) -> Encoded:
        """Does what is missing; the first bad input ends it."""
        with executor.open(work) as session:
            self._run_units(session)
        return self._encoded

    def _missing(self, tasks: Sequence[Task]) -> Iterator[Task]:
        left = self._segments.left((task.number for task in tasks), self._cipher)
        for task, segment in zip(tasks, left, strict=True):
            if segment is None:
                yield task
            else:
                self._count(task, segment)

    def _next_unit(self) -> Task | None:
        return self._queue.popleft() if self._queue else next(self._todo, None)

    def _message(self, unit: Task) -> EncodeTask:
        inputs = self._inputs[unit.start : unit.stop]
        return EncodeTask(number=unit.number, start=unit.start, inputs=inputs)

    def _describe(self, unit: Task) -> str:
        return inputs_of(unit)

    def _done(self, unit: Task, made: Any) -> None:
        self._encoded.ran += 1
        self._count(unit, self._segments.made(unit.number, made, self._cipher))

    def _count(self, task: Task, segment: Segment) -> None:
        self._encoded.add(segment)
        self._progress.advance(task.stop - task.start, segment.rows, segment.nbytes)
