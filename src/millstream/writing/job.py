"""Runs a job: hands tasks to workers, cuts what they made into chunks, has these assembled.

Everything a worker finishes is a file in the job's folder, so this loop may be killed anywhere:
the next one reads the folder and does what is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from millstream.encryption import Cipher
from millstream.errors import SampleError, StorageError
from millstream.execution.protocol import Executor
from millstream.format import PLAIN, Identity, Schema, schema_error
from millstream.writing.cuts import Cutter, Limits, Piece
from millstream.writing.dictionary import NO_DICTIONARY, DictionaryTurn
from millstream.writing.folder import JobFolder
from millstream.writing.placed import ChunkRecord, Placed, unbroken
from millstream.writing.segment import Segment, Skipped
from millstream.writing.settling import Settling, settling
from millstream.writing.shards import Share
from millstream.writing.tasks import Task
from millstream.writing.units import Progress, UnitRun, inputs_of
from millstream.writing.urls import short
from millstream.writing.work import AssembleTask, EncodeTask, TrainTask, Work
from millstream.writing.work import Piece as PlacedPiece

Place = tuple[int, int]
# What is wrong with the samples of a job, judged by the first; None if nothing is.
Unlike = Callable[[Schema], SampleError | None]


@dataclass(frozen=True, slots=True)
class _Ref:
    """A part of a task's segment. before: the rows of the task that lie in earlier parts."""

    task: int
    part: int
    before: int


@dataclass(frozen=True, slots=True)
class _Cut:
    """A chunk to be assembled, and the places where it starts and ends."""

    sequence: int
    pieces: tuple[Piece[_Ref], ...]
    start: Place
    stop: Place
    skipped: tuple[Skipped, ...]


@dataclass(frozen=True, slots=True)
class _Train:
    """The dictionary, to be made of these rows."""

    pieces: tuple[Piece[_Ref], ...]


Unit = Task | _Cut | _Train


class JobRun(UnitRun[Unit]):
    """One run of a job, from whatever its folder holds to all chunks in their places.

    tasks: of the inputs. recorded: the chunks that are in their places. threads: that wait for the
    disk; 0: the caller's does. cipher: of segments, if they are encrypted. share: of a shard, which
    builds no other chunks, and none but those that are known from the segments that are there.
    may_encode: or else all of these have to be there.
    """

    def __init__(
        self,
        folder: JobFolder,
        inputs: Sequence[Any],
        tasks: Sequence[Task],
        limits: Limits,
        *,
        digest: bytes,
        recorded: Mapping[int, Placed],
        progress: Progress,
        unlike: Unlike = lambda schema: None,
        share: Share | None = None,
        may_encode: bool = True,
        threads: int = 0,
        dictionary: DictionaryTurn | None = None,
        cipher: Cipher | None = None,
    ) -> None:
        super().__init__()
        self._places, self._inputs, self._digest = folder.segments, inputs, digest
        self._cipher = cipher
        self._progress, self._waiting_bytes = progress, folder.waiting_bytes
        self._unlike, self._threads = unlike, threads
        self._tasks, self._share, self._may_encode = tasks, share, may_encode
        self._cutter: Cutter[_Ref] = Cutter(limits)
        self._segments: dict[int, Segment] = {}  # finished, waiting for those before them
        self._waiting = 0  # the bytes of these
        self._skipped: dict[int, tuple[Skipped, ...]] = {}  # by task
        self._schema: Schema | None = None  # of the first task that gave rows
        self._dictionary = dictionary or DictionaryTurn(PLAIN, NO_DICTIONARY)
        self._recorded = recorded
        self._placed: dict[int, Placed] = {}
        self._firm = 0  # chunks before this one, and all segments they came from, are done with
        self._cuts, self._at = 0, (0, 0)
        self._settling: Settling  # while it runs
        self._resume()
        self._next, self._skip = self._at
        self._todo = self._missing()

    def _resume(self) -> None:
        """Takes over the unbroken run of chunks that earlier runs finished."""
        for placed in unbroken(self._recorded):
            self._placed[self._cuts] = placed
            self._cuts, self._at = self._cuts + 1, placed.stop
        done = self._tasks[: self._at[0]]
        rows = sum(placed.chunk.rows for placed in self._placed.values())
        size = sum(placed.chunk.size for placed in self._placed.values())
        self._progress.advance(done[-1].stop if done else 0, rows, size)
        if self._share is None:
            self._places.drop(self._done_with())

    def run(self, executor: Executor, work: Work) -> tuple[Schema | None, list[ChunkRecord]]:
        """Does what is missing; returns the schema (None without rows) and the chunks in order."""
        with (
            settling(work.chunks, threads=self._threads) as self._settling,
            executor.open(work) as session,
        ):
            self._run_units(session)
            self._place_settled(wait=True)
        chunks = [self._placed[n].chunk for n in range(self._cuts) if n in self._placed]
        return self._schema, chunks

    def _tick(self) -> None:
        self._place_settled()

    def skipped(self) -> tuple[Skipped, ...]:
        """The inputs that were skipped, by this run and by those before it, in their order."""
        found = {some.input: some for tasks in self._skipped.values() for some in tasks}
        found |= {some.input: some for placed in self._placed.values() for some in placed.skipped}
        return tuple(found[index] for index in sorted(found))

    def _missing(self) -> Iterator[Task]:
        """The tasks to run; those whose segments an earlier run wrote are taken over."""
        tasks = self._tasks[self._next :]
        left = self._places.left((task.number for task in tasks), self._cipher)
        for task, segment in zip(tasks, left, strict=True):
            if segment is not None:
                self._finish(task, segment)
            elif self._share is not None:
                return
            elif self._may_encode:
                yield task
            else:
                raise StorageError(
                    f"what was made of inputs {task.start} to {task.stop - 1} is damaged, or "
                    "encrypted with another key; run the shards again, or the same call without any"
                )

    def _next_unit(self) -> Unit | None:
        # Tasks are handed out in order, so the one that is waited for is running, or is next.
        may_wait = self._waiting <= self._waiting_bytes
        # Looking for a task takes over segments, which may complete chunks.
        if not self._has_ready and may_wait and (task := next(self._todo, None)) is not None:
            return task
        return self._queue.popleft() if self._has_ready else None

    @property
    def _has_ready(self) -> bool:
        """Whether the next unit of the queue may begin: chunks may have to wait."""
        held = self._dictionary.holds_chunks
        return bool(self._queue) and not (held and isinstance(self._queue[0], _Cut))

    def _message(self, unit: Unit) -> EncodeTask | AssembleTask | TrainTask:
        if isinstance(unit, Task):
            return EncodeTask(
                number=unit.number,
                start=unit.start,
                inputs=self._inputs[unit.start : unit.stop],
            )
        if isinstance(unit, _Train):
            return TrainTask(pieces=_placed(unit.pieces))
        return AssembleTask(
            identity=Identity(job=self._digest, sequence=unit.sequence),
            pieces=_placed(unit.pieces),
            start=unit.start,
            stop=unit.stop,
            skipped=unit.skipped,
            dictionary=self._dictionary.content,
        )

    def _done(self, unit: Unit, made: Placed | bytes | None) -> None:
        if isinstance(unit, _Cut) and isinstance(made, Placed):
            self._settling.add(unit.sequence, made)
        elif isinstance(unit, Task) and not isinstance(made, Placed):
            self._finish(unit, self._places.made(unit.number, made, self._cipher))
        elif not isinstance(made, Placed):
            self._dictionary.made(made)

    def _finish(self, task: Task, segment: Segment) -> None:
        """Takes a task's segment, and gives the cutter all that is now in unbroken order."""
        if segment.skipped:
            self._skipped[task.number] = segment.skipped
        self._progress.advance(task.stop - task.start, segment.rows, segment.nbytes)
        self._segments[task.number] = segment
        self._waiting += segment.held
        while self._next in self._segments:
            segment = self._segments.pop(self._next)
            self._waiting -= segment.held
            self._feed(segment)
            self._next, self._skip = self._next + 1, 0
            if self._next == len(self._tasks):
                for pieces in self._cutter.finish():
                    self._cut(pieces)

    def _check(self, segment: Segment) -> None:
        """Raises SampleError if the samples of a task are not like those before them."""
        if segment.schema is None or segment.first_input is None:
            return
        first, self._schema = self._schema, self._schema or segment.schema
        unlike = self._unlike(segment.schema) if first is None else None
        if error := unlike or schema_error(self._schema, segment.schema):
            index = segment.first_input
            raise SampleError(
                f"the sample from input {index} ({short(self._inputs[index])}): {error}"
            )

    def _feed(self, segment: Segment) -> None:
        self._check(segment)
        before = 0
        for number, part in enumerate(segment.parts):
            start = min(max(self._skip - before, 0), part.rows)
            for pieces in self._cutter.push(_Ref(self._next, number, before), part, start):
                self._cut(pieces)
            before += part.rows

    def _cut(self, pieces: list[Piece[_Ref]]) -> None:
        last = pieces[-1]
        stop = (last.ref.task, last.ref.before + last.stop)
        tasks = range(self._at[0], stop[0] + 1)
        skipped = tuple(some for task in tasks for some in self._skipped.get(task, ()))
        cut = _Cut(self._cuts, tuple(pieces), self._at, stop, skipped)
        self._cuts, self._at = self._cuts + 1, stop
        recorded = self._recorded.get(cut.sequence)
        if recorded and (recorded.start, recorded.stop) == (cut.start, cut.stop):
            self._place(cut.sequence, recorded)
            return
        # Of the first chunk's rows in every shard, whoever builds that chunk.
        if self._dictionary.begins(self._schema):
            self._queue.append(_Train(cut.pieces))
        if self._share is None or self._share.has(cut.sequence):
            self._queue.append(cut)

    def _describe(self, unit: Unit) -> str:
        if isinstance(unit, Task):
            return inputs_of(unit)
        return f"chunk {unit.sequence}" if isinstance(unit, _Cut) else "the dictionary of zstd"

    def _place_settled(self, *, wait: bool = False) -> None:
        for sequence, placed in self._settling.finished(wait=wait):
            self._place(sequence, placed)

    def _place(self, sequence: int, placed: Placed) -> None:
        self._placed[sequence] = placed
        if self._share is None and (tasks := self._done_with()):
            self._settling.later(partial(self._places.drop, tasks))

    def _done_with(self) -> range:
        """The next tasks whose segments no chunk still needs, neither now nor after a restart."""
        first = self._placed[self._firm - 1].stop[0] if self._firm else 0
        while self._firm in self._placed:
            self._firm += 1
        return range(first, self._placed[self._firm - 1].stop[0] if self._firm else 0)


def _placed(pieces: Iterable[Piece[_Ref]]) -> tuple[PlacedPiece, ...]:
    return tuple((piece.ref.task, piece.ref.part, piece.start, piece.stop) for piece in pieces)
