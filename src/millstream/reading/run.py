"""Where a run stands: which epoch comes next, which batches are done, and the state of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import blake2b
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
    content_of,
    restore,
    state,
)
from millstream.reading.feed import Feed
from millstream.reading.reader import Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How an epoch is divided: batch_size samples a rank, so many ranks. Else as in `Plan`."""

    batch_size: int
    ranks: int
    drop_last: bool
    pad: bool = False

    def plan(self, epoch: AnyEpoch, start: int = 0) -> Plan:
        """An epoch divided like that, from a position on."""
        return Plan(
            epoch=epoch,
            batch_size=self.batch_size,
            ranks=self.ranks,
            drop_last=self.drop_last,
            start=start,
            pad=self.pad,
        )


def divided(batch_size: int, ranks: int, drop_last: bool | None, pad: bool) -> Shape:
    """The shape of an epoch; UsageError for one that both drops and pads.

    drop_last: whether what does not fill a batch on every rank is left out. None: with several
    ranks, unless it is padded.
    """
    if type(pad) is not bool:
        raise UsageError(f"pad is {pad!r}, expected True or False")
    if pad and drop_last:
        raise UsageError(
            "drop_last=True leaves out what does not fill a batch, and pad fills it up: give one "
            "of them, to the loader or its dataset"
        )
    drops = not pad and drops_last(drop_last, ranks)
    return Shape(batch_size=batch_size, ranks=ranks, drop_last=drops, pad=pad)


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
        self.padded = 0  # of the last batch: see `Plan.padding`
        self._loaded: Mapping[str, Any] | None = None  # the settings of a state, until `start`
        self._moved = False  # whether a batch came since `start`, or since a state was loaded
        self.is_misled = False  # see `expect`

    def _order(self, saved: Mapping[str, Any] | None) -> AnyOrder:
        shape = self.shape
        return self._dataset.order(
            shape.ranks, saved, shuffle=self.shuffle, batch_size=shape.batch_size
        )

    def divide(self, shape: Shape, rank: int) -> None:
        """Goes on as another rank of another shape; no epoch has begun yet."""
        self.shape, self.rank = shape, rank
        self.order = self._order(self._loaded)

    def start(self) -> Plan:
        """The plan of the epoch that now begins, from where it begins."""
        self._cursor = self._next
        self._next = Cursor(epoch=self._cursor.epoch + 1, position=0)
        plan = self._plan(self._cursor)
        self._tally = Tally(plan, self.rank, self._digest())
        self._loaded, self._moved, self.is_misled = None, False, False
        return plan

    def _digest(self) -> str:
        """Names the run that this rank is one of: data, order and division."""
        told = content_of(self._dataset.version_digest), self.order.settings(), asdict(self.shape)
        return blake2b(json.dumps(told).encode(), digest_size=8).hexdigest()

    def plan(self, epoch: int) -> Plan:
        """The plan of a whole epoch."""
        return self._plan(Cursor(epoch=epoch, position=0))

    def _plan(self, cursor: Cursor) -> Plan:
        return self.shape.plan(self.order.epoch(cursor.epoch), cursor.position)

    def deliver(self, plan: Plan, step: int, taken: Rows) -> None:
        """Step `step` of the plan is done, and gave these rows; the last one ends the epoch."""
        if self._tally is not None:
            self._tally.add(step, taken)
        self._moved = True
        self.padded = plan.padding(step, self.rank)
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

    def expect(self, epoch: int) -> None:
        """The next `start` begins this epoch, or goes on with it where no batch of it came yet.

        Unlike `set_epoch` it may be called when an epoch has begun: the state stays as it is. If
        that is another one, and no batch of it came, it `is_misled`, and should be started anew.
        """
        here = self._cursor.epoch == epoch and not self._moved
        self._next = self._cursor if here else Cursor(epoch=epoch, position=0)
        self.is_misled = not here and not self._moved

    def __len__(self) -> int:
        """The steps of a whole epoch in the present shape that give this rank a batch.

        TypeError, as Python wants it, for an epoch without end.
        """
        if self.order.length == ENDLESS:
            raise TypeError("an epoch without end has no len()")
        return self.plan(0).steps_of(self.rank)

    @property
    def is_loaded(self) -> bool:
        """Whether a state was loaded that no epoch has gone on from yet."""
        return self._loaded is not None

    @property
    def epoch(self) -> int:
        """The epoch that `start` begins, or goes on with."""
        return self._next.epoch

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
        self._loaded, self._moved = order.settings(), False
