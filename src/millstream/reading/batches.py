"""Numpy batches in the order of the plan, without torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from millstream.plan import Plan
from millstream.reading.run import Ordered, Run, Shape
from millstream.reading.source import Source


class Batches:
    """Iterates over epochs of batches; each `iter` is the next epoch.

    A batch has the structure of a sample. Fields whose rows share a shape are one array
    (batch, *shape); others are lists. `state_dict()` after any batch lets another Batches,
    with any number of ranks and any batch size, go on from the next sample.
    """

    def __init__(self, dataset: Ordered, source: Source, shape: Shape, rank: int) -> None:
        self._source, self._rank = source, rank
        self._run = Run(dataset, shape)

    def __iter__(self) -> Iterator[Any]:
        return self._epoch(self._run.start())

    def _epoch(self, plan: Plan) -> Iterator[Any]:
        for step in range(plan.steps):
            rows = plan.batch(step, self._rank)
            batch = self._source.rebuild(self._source.columns(rows)) if len(rows) else None
            self._run.finish(plan, step)
            if batch is not None:
                yield batch

    def __len__(self) -> int:
        """The steps of a whole epoch."""
        return len(self._run)

    def set_epoch(self, epoch: int) -> None:
        """The next `iter` gives this epoch."""
        self._run.set_epoch(epoch)

    def state_dict(self) -> dict[str, Any]:
        """Where the run stands: JSON-able, under 1 KB, the same on every rank."""
        return self._run.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from a state at the next `iter`; raises StateMismatch if it is another's."""
        self._run.load_state_dict(state)
