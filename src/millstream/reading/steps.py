"""The batch of a step, made by whoever is asked: the trainer's own process or a worker.

Nothing here needs torch, unless the samples do: a worker that gathers columns never loads it.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from millstream import interop
from millstream.errors import FunctionError, MillstreamError
from millstream.plan import Coverage, Plan
from millstream.reading.collate import (
    MakeTensor,
    TensorData,
    collate_columns,
    collate_samples,
    make_tensor,
)
from millstream.reading.dataset import StreamingDataset, is_plain, samples_at, stream_of
from millstream.reading.randomness import seeded
from millstream.reading.reader import Rows
from millstream.reading.run import Shape, covered
from millstream.reading.stats import ReadStats

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
    """A batch, which rows the reader took for it, and what that cost where the data is far away."""

    batch: Any
    taken: Coverage
    stats: ReadStats


@dataclass(frozen=True, slots=True, kw_only=True)
class Maker:
    """Makes batches of a rank's steps, the same in any process.

    seed: of the random states that the user's functions find.
    """

    dataset: StreamingDataset
    rank: int
    seed: int
    collate_fn: CollateFn | None

    def make(self, plan: Plan, step: int, tensor: MakeTensor) -> Made:
        """The batch of a step. FunctionError if a function of the user's raises."""
        positions = plan.positions(step, self.rank)
        rows = plan.epoch.rows(positions)
        stream = stream_of(self.dataset)
        source = stream.source
        before = source.stats
        if self.collate_fn is None and is_plain(self.dataset):
            read = source.read(rows)
            columns = read.columns(stream.keys_at(plan.epoch.number, positions))
            batch, taken = collate_columns(source, columns, tensor), read.taken
        else:
            batch, taken = self._from_samples(plan.epoch.number, step, positions, rows, tensor)
        stats = source.stats - before
        return Made(batch=batch, taken=covered(positions, taken), stats=stats)

    def _from_samples(
        self, epoch: int, step: int, positions: Rows, rows: Rows, tensor: MakeTensor
    ) -> tuple[Any, Rows]:
        """A batch by the user's functions, and the rows that were taken for it."""
        with seeded(self.seed, epoch, int(positions[0]), self.rank):
            try:
                samples, taken = samples_at(self.dataset, epoch, positions, rows)
                if self.collate_fn is None:
                    return collate_samples(list(samples), tensor), taken
                return self.collate_fn(list(samples)), taken
            except MillstreamError:
                raise
            except Exception as error:
                raise _function_error(error, epoch, step) from error


def _function_error(error: Exception, epoch: int, step: int) -> FunctionError:
    trace = "".join(traceback.format_exception(error)).rstrip()
    return FunctionError(
        f"a transform, a collate_fn or a __getitem__ raised {type(error).__name__}: {error}, at "
        f"epoch {epoch}, step {step}. Its traceback:\n{trace}"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStart:
    """What travels to each worker, and is called there once with the worker's number.

    settings: of the order, which the worker makes anew rather than be sent its arrays.
    """

    maker: Maker
    shape: Shape
    shuffle: bool | None
    settings: Mapping[str, Any]
    init_fn: Callable[[int], None] | None

    def __call__(self, number: int) -> Callable[[Step], Made]:
        if self.init_fn is not None:
            self.init_fn(number)
        return _WorkerSteps(self)


class _WorkerSteps:
    """Makes the steps that a worker is given; keeps the plan that they are of."""

    def __init__(self, start: WorkerStart) -> None:
        self._maker, self._shape = start.maker, start.shape
        stream = stream_of(start.maker.dataset)
        self._order = stream.order(start.shape.ranks, start.settings, shuffle=start.shuffle)
        self._plan: Plan | None = None

    def __call__(self, step: Step) -> Made:
        plan = self._plan
        if plan is None or (plan.epoch.number, plan.start) != (step.epoch, step.start):
            plan = self._plan = Plan(
                epoch=self._order.epoch(step.epoch),
                batch_size=self._shape.batch_size,
                ranks=self._shape.ranks,
                drop_last=self._shape.drop_last,
                start=step.start,
            )
        made = self._maker.make(plan, step.number, TensorData)
        if (torch := interop.loaded_torch()) is not None:
            torch.cheap_pickles()
        return made


def make_here(maker: Maker, plan: Plan, step: int) -> Made:
    """The batch of a step, made in the trainer's own process."""
    return maker.make(plan, step, make_tensor)
