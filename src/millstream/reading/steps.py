"""The batch of a step, made by whoever is asked: the trainer's own process or a worker.

Nothing here needs torch, unless the samples do: a worker that gathers columns never loads it.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from millstream import interop
from millstream.errors import FunctionError, MillstreamError, UsageError
from millstream.plan import Plan, StepRows
from millstream.reading.collate import collate_columns, collate_samples
from millstream.reading.feed import Feed, Read
from millstream.reading.output import Away, Here, Output
from millstream.reading.randomness import seeded
from millstream.reading.reader import Empty, Rows
from millstream.reading.run import Shape
from millstream.reading.stats import TRAINER, ReadStats, Stages, now
from millstream.reading.streamed import Samples, Streamed, feed_of, is_plain, samples_at

CollateFn = Callable[[list[Any]], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """A worker's turn: so many steps from the first on, of an epoch whose plan starts somewhere."""

    epoch: int
    start: int
    first: int
    count: int = 1

    def __str__(self) -> str:
        if self.count == 1:
            return f"epoch {self.epoch}, step {self.first}"
        return f"epoch {self.epoch}, steps {self.first} to {self.first + self.count - 1}"


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
    return Made(batch=batch, taken=rows, stages=Stages._make(stages), stats=stats)


@dataclass(frozen=True, slots=True)
class Failed:
    """A step that raised this, after others of its turn were made."""

    error: MillstreamError


@dataclass(frozen=True, slots=True, kw_only=True)
class Maker:
    """Makes batches of a rank's steps, the same in any process.

    seed: of the random states that the user's functions find. alone: whether no other thread of
    this process makes batches: else these states are left alone, and costs are not told apart.
    """

    dataset: Streamed
    rank: int
    seed: int
    collate_fn: CollateFn | None
    alone: bool = True

    @property
    def is_quick(self) -> bool:
        """Whether batches are gathered from columns, without a function for samples or batches."""
        return self.collate_fn is None and is_plain(self.dataset)

    def make(
        self,
        plan: Plan,
        step: int,
        rows: Rows,
        output: Output,
        free: float | None,
        worker: int,
    ) -> Made:
        """The batch of a step, of its rows. FunctionError if a function of the user's raises.

        free: when the batch before was made, if the next one may have had to wait for its turn.
        worker: who makes it.
        """
        feed, begun = feed_of(self.dataset), now()
        before = feed.stats
        made: tuple[Any, Samples | Read, float, float]
        if self.is_quick:
            made = self._from_columns(feed, plan, step, rows, output)
        else:
            made = self._from_samples(plan, step, rows, output)
        batch, read, read_at, decoded_at = made
        after = feed.stats
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
                worker=worker,
            ),
            stats=after - before if self.alone and after is not before else None,
        )

    def _from_columns(
        self, feed: Feed, plan: Plan, step: int, rows: Rows, output: Output
    ) -> tuple[Any, Read, float, float]:
        """A batch straight from columns; what was read for it; when that was read, and decoded."""
        read = feed.read(plan.epoch, rows, partial(plan.positions, step, self.rank), output.empty)
        read_at = now()
        columns, decoded_at = read.columns(output), now()
        return collate_columns(read.source, columns, output), read, read_at, decoded_at

    def _from_samples(
        self, plan: Plan, step: int, rows: Rows, output: Output
    ) -> tuple[Any, Samples, float, float]:
        """A batch by the user's functions; as `_from_columns`."""
        epoch, positions = plan.epoch, plan.positions(step, self.rank)
        key = self.seed, epoch.number, int(positions[0]), self.rank
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
                raise _function_error(error, epoch.number, step) from error


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
    how many there are, which take turns.
    """

    maker: Maker
    shape: Shape
    shuffle: bool | None
    settings: Mapping[str, Any]
    workers: int
    init_fn: Callable[[int], None] | None

    def __call__(self, number: int) -> Callable[[Steps, Empty], list[Made | Failed]]:
        """The work of a process: its batches lie in the arrays that `Empty` makes."""
        turns = self._begin(number)

        def work(steps: Steps, empty: Empty) -> list[Made | Failed]:
            made = turns.make(steps, Away(empty))
            if (torch := interop.loaded_torch()) is not None:
                torch.cheap_pickles()
            return made

        return work

    def in_thread(self, number: int) -> Callable[[Steps], list[Made | Failed]]:
        """The work of a thread of the trainer's process."""
        turns = self._begin(number)
        return lambda steps: turns.make(steps, Here())

    def _begin(self, number: int) -> _Turns:
        if self.init_fn is not None:
            self.init_fn(number)
        return _Turns(self, number)


class _Turns:
    """Makes the steps that a worker is given; keeps the plan that they are of."""

    def __init__(self, start: WorkerStart, number: int) -> None:
        self._number = number
        self._maker, self._shape, self._stride = start.maker, start.shape, start.workers
        self._order = feed_of(start.maker.dataset).order(
            start.shape.ranks,
            start.settings,
            shuffle=start.shuffle,
            batch_size=start.shape.batch_size,
        )
        if self._order.settings() != start.settings:
            raise UsageError(
                "a worker finds another order than its loader: a function that gives weights gave "
                "others for the same position. It may depend on nothing but the position"
            )
        self._plan: Plan | None = None
        self._free: float | None = None

    def make(self, steps: Steps, output: Output) -> list[Made | Failed]:
        """The batches of a turn, up to one that cannot be made; raises if that is the first."""
        plan = self._plan_of(steps)
        batches: list[Made | Failed] = []
        for number in range(steps.first, steps.first + steps.count):
            rows = self._rows_of(number, steps.count)
            try:
                made = self._maker.make(plan, number, rows, output, self._free, self._number)
            except MillstreamError as error:
                if not batches:
                    raise
                return [*batches, Failed(error)]
            self._free = made.stages.made
            batches.append(made)
        return batches

    def _plan_of(self, steps: Steps) -> Plan:
        plan = self._plan
        if plan is None or (plan.epoch.number, plan.start) != (steps.epoch, steps.start):
            plan = self._plan = self._shape.plan(self._order.epoch(steps.epoch), steps.start)
            self._rows_of = StepRows(plan, self._maker.rank, self._stride)
            self._free = None  # before the first batch no one was waiting
        return plan


def make_here(maker: Maker, plan: Plan, steps: range) -> Iterator[Made]:
    """The batches of steps, made in the trainer's own process."""
    rows_of, here = StepRows(plan, maker.rank), Here()
    for step in steps:
        yield maker.make(plan, step, rows_of(step), here, free=None, worker=TRAINER)
