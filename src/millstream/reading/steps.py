"""The batch of a step, made by whoever is asked: the trainer's own process or a worker.

Nothing here needs torch, unless the samples do: a worker that gathers columns never loads it.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from millstream import interop
from millstream.errors import FunctionError, MillstreamError
from millstream.plan import Plan, StepRows
from millstream.reading.collate import collate_columns, collate_samples
from millstream.reading.dataset import (
    Samples,
    StreamingDataset,
    is_plain,
    samples_at,
    stream_of,
)
from millstream.reading.output import Away, Here, Output
from millstream.reading.randomness import seeded
from millstream.reading.reader import Empty, Rows
from millstream.reading.run import Shape
from millstream.reading.source import MakeKeys, Source, StoredRows
from millstream.reading.stats import ReadStats, Stages, now

CollateFn = Callable[[list[Any]], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of an epoch whose plan starts at a position."""

    epoch: int
    start: int
    number: int

    def __str__(self) -> str:
        return f"epoch {self.epoch}, step {self.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A batch, which rows the reader took for it, when, and what that cost if the data is far."""

    batch: Any
    taken: Rows
    stages: Stages
    stats: ReadStats | None

    def __reduce__(self) -> tuple[Any, ...]:
        # The rows are counted long after the batch is gone: they must not keep its slot.
        return _made, (self.batch, self.taken.tobytes(), tuple(self.stages), self.stats)


def _made(batch: Any, taken: bytes, stages: Iterable[float], stats: ReadStats | None) -> Made:
    rows = np.frombuffer(taken, np.int64)
    return Made(batch=batch, taken=rows, stages=Stages(*stages), stats=stats)


@dataclass(frozen=True, slots=True, kw_only=True)
class Maker:
    """Makes batches of a rank's steps, the same in any process.

    seed: of the random states that the user's functions find. alone: whether no other thread of
    this process makes batches: else these states are left alone, and costs are not told apart.
    """

    dataset: StreamingDataset
    rank: int
    seed: int
    collate_fn: CollateFn | None
    alone: bool = True

    def make(
        self, plan: Plan, step: int, rows: Rows, output: Output, free: float | None = None
    ) -> Made:
        """The batch of a step, of its rows. FunctionError if a function of the user's raises.

        free: when the batch before was made, if the next one may have had to wait for its turn.
        """
        stream, begun = stream_of(self.dataset), now()
        source = stream.source
        before = source.stats
        made: tuple[Any, Samples | StoredRows, float, float]
        if self.collate_fn is None and is_plain(self.dataset):
            made = _from_columns(source, rows, output, stream.keys_in(plan, step, self.rank))
        else:
            made = self._from_samples(plan, step, rows, output)
        batch, read, read_at, decoded_at = made
        after = source.stats
        return Made(
            batch=batch,
            taken=read.taken,
            stages=Stages(
                free=begun if free is None else free,
                begun=begun,
                read=read_at,
                decoded=decoded_at,
                made=now(),
                network=read.waited,
            ),
            stats=after - before if self.alone and after is not before else None,
        )

    def _from_samples(
        self, plan: Plan, step: int, rows: Rows, output: Output
    ) -> tuple[Any, Samples, float, float]:
        """A batch by the user's functions; as `_from_columns`."""
        epoch, positions = plan.epoch.number, plan.positions(step, self.rank)
        key = self.seed, epoch, int(positions[0]), self.rank
        with seeded(*key) if self.alone else nullcontext():
            try:
                found = samples_at(self.dataset, epoch, positions, rows)
                read_at = now()
                samples = list(found.samples)
                decoded_at = now()
                if self.collate_fn is None:
                    return collate_samples(samples, output), found, read_at, decoded_at
                return self.collate_fn(samples), found, read_at, decoded_at
            except MillstreamError:
                raise
            except Exception as error:
                raise _function_error(error, epoch, step) from error


def _from_columns(
    source: Source, rows: Rows, output: Output, keys: MakeKeys
) -> tuple[Any, StoredRows, float, float]:
    """A batch straight from the columns; what was read for it; when that was read, and decoded."""
    read = source.read(rows, output.empty)
    read_at = now()
    columns, decoded_at = read.columns(output, keys), now()
    return collate_columns(source, columns, output), read, read_at, decoded_at


def _function_error(error: Exception, epoch: int, step: int) -> FunctionError:
    trace = "".join(traceback.format_exception(error)).rstrip()
    return FunctionError(
        f"a transform, a collate_fn or a __getitem__ raised {type(error).__name__}: {error}, at "
        f"epoch {epoch}, step {step}. Its traceback:\n{trace}"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStart:
    """What travels to each worker, and is called there once with the worker's number.

    settings: of the order, which the worker makes anew rather than be sent its arrays. workers:
    how many there are; each makes every so manyth step.
    """

    maker: Maker
    shape: Shape
    shuffle: bool | None
    settings: Mapping[str, Any]
    workers: int
    init_fn: Callable[[int], None] | None

    def __call__(self, number: int) -> Callable[[Step, Empty], Made]:
        """The work of a process: its batches lie in the arrays that `Empty` makes."""
        steps = self._begin(number)

        def work(step: Step, empty: Empty) -> Made:
            made = steps.make(step, Away(empty))
            if (torch := interop.loaded_torch()) is not None:
                torch.cheap_pickles()
            return made

        return work

    def in_thread(self, number: int) -> Callable[[Step], Made]:
        """The work of a thread of the trainer's process."""
        steps = self._begin(number)
        return lambda step: steps.make(step, Here())

    def _begin(self, number: int) -> _WorkerSteps:
        if self.init_fn is not None:
            self.init_fn(number)
        return _WorkerSteps(self)


class _WorkerSteps:
    """Makes the steps that a worker is given; keeps the plan that they are of."""

    def __init__(self, start: WorkerStart) -> None:
        self._maker, self._shape, self._stride = start.maker, start.shape, start.workers
        stream = stream_of(start.maker.dataset)
        self._order = stream.order(start.shape.ranks, start.settings, shuffle=start.shuffle)
        self._plan: Plan | None = None
        self._free: float | None = None

    def make(self, step: Step, output: Output) -> Made:
        """The batch of a step."""
        plan = self._plan
        if plan is None or (plan.epoch.number, plan.start) != (step.epoch, step.start):
            plan = self._plan = Plan(
                epoch=self._order.epoch(step.epoch),
                batch_size=self._shape.batch_size,
                ranks=self._shape.ranks,
                drop_last=self._shape.drop_last,
                start=step.start,
            )
            self._rows_of = StepRows(plan, self._maker.rank, self._stride)
            self._free = None  # before the first batch no one was waiting
        made = self._maker.make(plan, step.number, self._rows_of(step.number), output, self._free)
        self._free = made.stages.made
        return made


def make_here(maker: Maker, plan: Plan, steps: range) -> Iterator[Made]:
    """The batches of steps, made in the trainer's own process."""
    rows_of, here = StepRows(plan, maker.rank), Here()
    for step in steps:
        yield maker.make(plan, step, rows_of(step), here)
