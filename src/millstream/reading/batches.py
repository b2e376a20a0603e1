"""Numpy batches in the order of the plan, without torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from millstream.plan import CoverageReport, Plan, StepRows
from millstream.reading.feed import Feed
from millstream.reading.output import Here
from millstream.reading.run import Run, Shape


class Batches:
    """Iterates over epochs of batches; each `iter` is the next epoch.

    A batch has the structure of a sample. Fields whose rows share a shape are one array
    (batch, *shape); others are lists. `state_dict()` after any batch lets another Batches,
    with any number of ranks and any batch size, go on from the next sample.
    """

    def __init__(self, feed: Feed, shape: Shape, rank: int) -> None:
        self._feed = feed
        self._run = Run(feed, shape, rank)

    def __iter__(self) -> Iterator[Any]:
        """The batches of the next epoch; after `load_state_dict`, those that were left."""
        return self._epoch(self._run.start())

    def _epoch(self, plan: Plan) -> Iterator[Any]:
        rank = self._run.rank
        order, start = self._run.order, plan.start
        ahead = self._feed.ahead(order, plan.epoch.number, start, rank=rank, ranks=plan.ranks)
        rows_of, here = StepRows(plan, rank), Here()
        for step in range(plan.steps_of(rank)):
            positions = partial(plan.positions, step, rank)
            read = self._feed.read(plan.epoch, rows_of(step), positions)
            batch = read.source.rebuild(read.columns(here))
            self._run.deliver(plan, step, read.taken)
            ahead.passed(plan.after(step + 1))
            yield batch
        self._run.end(plan)

    def __len__(self) -> int:
        """The batches of a whole epoch."""
        return len(self._run)

    @property
    def remaining(self) -> int:
        """The batches that are left of the epoch where the run stands."""
        return self._run.remaining

    @property
    def padded(self) -> int:
        """How many samples at the end of the last batch came before, and only fill it: `pad`."""
        return self._run.padded

    def coverage(self) -> CoverageReport:
        """Whether the epoch that was iterated last gave just the planned rows up to here."""
        return self._run.coverage()

    def set_epoch(self, epoch: int) -> None:
        """The next `iter` gives this epoch."""
        self._run.set_epoch(epoch)

    def state_dict(self) -> dict[str, Any]:
        """Where the run stands: JSON-able, under 1 KB, the same on every rank."""
        return self._run.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from a state at the next `iter`; raises StateMismatch if it is another's."""
        self._run.load_state_dict(state)
