"""Where a run stands: which epoch comes next, which batches are done, and the state of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from millstream.errors import UsageError
from millstream.plan import (
    ENDLESS,
    AnyEpoch,
    AnyOrder,
    CoverageReport,
    Cursor,
    Plan,
    Tally,
    restore,
    state,
)
from millstream.reading.feed import Feed
from millstream.reading.reader import Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How an epoch is divided: batch_size samples a rank, so many ranks."""

    batch_size: int
    ranks: int
    drop_last: bool

    def plan(self, epoch: AnyEpoch, start: int = 0) -> Plan:
        """An epoch divided like that, from a position on."""
        return Plan(
            epoch=epoch,
            batch_size=self.batch_size,
            ranks=self.ranks,
            drop_last=self.drop_last,
            start=start,
        )


def drops_last(given: bool | None, ranks: int) -> bool:
    """Whether what does not fill a batch on every rank is left out: None means with ranks."""
    return ranks > 1 if given is None else given


def check_rank(rank: int, ranks: int) -> None:
    """Raises UsageError unless `rank` is one of so many."""
    if not 0 <= rank < ranks:
        raise UsageError(f"rank is {rank} of {ranks} ranks, expected 0 to {ranks - 1}")


class Run:
    """The cursor of a rank's run over a dataset, and the plans of its epochs.

    A batch is done when `deliver` is called for it. Every `start` begins the next epoch, but the
    first after `load_state_dict`, which goes on where that state was.
    """

    def __init__(
        self, dataset: Feed, shape: Shape, rank: int, *, shuffle: bool | None = None
    ) -> None:
        self._dataset, self.shape, self.rank = dataset, shape, rank
        self.shuffle = shuffle
        self.order = self._order(None)
        self._cursor = self._next = Cursor(epoch=0, position=0)
        self._tally: Tally | None = None

    def _order(self, saved: Mapping[str, Any] | None) -> AnyOrder:
        shape = self.shape
        return self._dataset.order(
            shape.ranks, saved, shuffle=self.shuffle, batch_size=shape.batch_size
        )

    def start(self) -> Plan:
        """The plan of the epoch that now begins, from where it begins."""
        self._cursor = self._next
        self._next = Cursor(epoch=self._cursor.epoch + 1, position=0)
        plan = self._plan(self._cursor)
        self._tally = Tally(plan, self.rank)
        return plan

    def _plan(self, cursor: Cursor) -> Plan:
        return self.shape.plan(self.order.epoch(cursor.epoch), cursor.position)

    def deliver(self, plan: Plan, step: int, taken: Rows) -> None:
        """Step `step` of the plan is done, and gave these rows; the last one ends the epoch."""
        if self._tally is not None:
            self._tally.add(step, taken)
        if step + 1 < plan.steps:
            epoch = plan.epoch.number
            self._cursor = Cursor(epoch=epoch, position=plan.after(step + 1))
        else:
            self.end(plan)

    def end(self, plan: Plan) -> None:
        """Nothing is left of the plan."""
        self._cursor = Cursor(epoch=plan.epoch.number + 1, position=0)

    def set_epoch(self, epoch: int) -> None:
        """The next `start` begins this epoch.

        A state that was loaded and is in this very epoch still goes on where it was: a training
        loop that calls this before each epoch loses nothing when it is resumed.
        """
        if self._next.epoch != epoch:
            self._next = Cursor(epoch=epoch, position=0)
        self._cursor = self._next

    def __len__(self) -> int:
        """The steps of a whole epoch in the present shape that give this rank a batch.

        TypeError, as Python wants it, for an epoch without end.
        """
        if self.order.length == ENDLESS:
            raise TypeError("an epoch without end has no len()")
        return self._plan(Cursor(epoch=0, position=0)).steps_of(self.rank)

    @property
    def remaining(self) -> int:
        """The batches that are left of the epoch where the run stands."""
        return self._plan(self._cursor).steps_of(self.rank)

    def coverage(self) -> CoverageReport:
        """What was delivered since `start`, against the plan; UsageError before the first."""
        if self._tally is None:
            raise UsageError("nothing was delivered yet: coverage() is of the epoch iterated last")
        return self._tally.report()

    def state_dict(self) -> dict[str, Any]:
        """The state: JSON-able, under 1 KB, the same on every rank."""
        return state(self._cursor, self.order.settings(), self._dataset.version_digest)

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Goes on from a state at the next `start`; raises StateMismatch or UsageError."""
        settings = saved.get("order") if isinstance(saved, Mapping) else None
        known = settings if isinstance(settings, Mapping) else None
        order = self._order(known)
        self._cursor = restore(saved, order.settings(), self._dataset.version_digest)
        self.order, self._next = order, self._cursor
