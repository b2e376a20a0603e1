"""Where a run stands: which epoch comes next, which batches are done, and the state of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from millstream.errors import UsageError
from millstream.plan import Cursor, Order, Plan, restore, state


class Ordered(Protocol):
    """What has an order: a dataset."""

    @property
    def version_digest(self) -> str:
        """Names the version of the data."""

    def order(self, ranks: int, saved: Mapping[str, Any] | None = None) -> Order:
        """The order on so many ranks; settings that were left open are taken from `saved`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How an epoch is divided: batch_size samples a rank, so many ranks."""

    batch_size: int
    ranks: int
    drop_last: bool


def drops_last(given: bool | None, ranks: int) -> bool:
    """Whether what does not fill a batch on every rank is left out: None means with ranks."""
    return ranks > 1 if given is None else given


def check_rank(rank: int, ranks: int) -> None:
    """Raises UsageError unless `rank` is one of so many."""
    if not 0 <= rank < ranks:
        raise UsageError(f"rank is {rank} of {ranks} ranks, expected 0 to {ranks - 1}")


class Run:
    """The cursor of a run over a dataset, and the plans of its epochs.

    A batch is done when `finish` is called for it. Every `start` begins the next epoch, but the
    first after `load_state_dict`, which goes on where that state was.
    """

    def __init__(self, dataset: Ordered, shape: Shape) -> None:
        self._dataset, self.shape = dataset, shape
        self._order = dataset.order(shape.ranks)
        self._cursor = Cursor(epoch=0, position=0)
        self._next = self._cursor

    def start(self) -> Plan:
        """The plan of the epoch that now begins, from where it begins."""
        self._cursor = self._next
        self._next = Cursor(epoch=self._cursor.epoch + 1, position=0)
        return self._plan(self._cursor)

    def _plan(self, cursor: Cursor) -> Plan:
        return Plan(
            epoch=self._order.epoch(cursor.epoch),
            batch_size=self.shape.batch_size,
            ranks=self.shape.ranks,
            drop_last=self.shape.drop_last,
            start=cursor.position,
        )

    def finish(self, plan: Plan, step: int) -> None:
        """Step `step` of the plan is done; the last one ends the epoch."""
        epoch = plan.epoch.number
        last = step + 1 >= plan.steps
        self._cursor = (
            Cursor(epoch=epoch + 1, position=0)
            if last
            else Cursor(epoch=epoch, position=plan.after(step + 1))
        )

    def set_epoch(self, epoch: int) -> None:
        """The next `start` begins this epoch."""
        self._next = Cursor(epoch=epoch, position=0)

    def __len__(self) -> int:
        """The steps of a whole epoch in the present shape."""
        return self._plan(Cursor(epoch=0, position=0)).steps

    def state_dict(self) -> dict[str, Any]:
        """The state: JSON-able, under 1 KB, the same on every rank."""
        return state(self._cursor, self._order.settings(), self._dataset.version_digest)

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Goes on from a state at the next `start`; raises StateMismatch or UsageError."""
        settings = saved.get("order") if isinstance(saved, Mapping) else None
        order = self._dataset.order(
            self.shape.ranks, settings if isinstance(settings, Mapping) else None
        )
        self._cursor = restore(saved, order.settings(), self._dataset.version_digest)
        self._order, self._next = order, self._cursor
