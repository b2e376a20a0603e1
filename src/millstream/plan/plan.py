"""Who gets which positions of an epoch."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain

import numpy as np

from millstream.errors import UsageError
from millstream.plan.coverage import Coverage
from millstream.plan.permute import Ints
from millstream.plan.protocol import AnyEpoch

COVERAGE_BLOCK = 1 << 16
# Positions whose rows are found together: the permutation of few takes as long as that of many.
BLOCK_POSITIONS = 1 << 14


@dataclass(frozen=True, slots=True, kw_only=True)
class When:
    """Where a row comes in an epoch. step: None if drop_last leaves the position out."""

    position: int
    step: int | None
    rank: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """An epoch divided among ranks; raises UsageError.

    Rank r of R reads the positions p with p mod R = r. Step s covers the positions from
    start + s * batch_size * R on; start is 0, or where a run resumed. pad: whether the last step
    gives every rank a full batch, at its end samples that came before: they are read again, and
    count for nothing.
    """

    epoch: AnyEpoch
    batch_size: int
    ranks: int
    drop_last: bool
    start: int = 0
    pad: bool = False

    def __post_init__(self) -> None:
        if self.pad and self.drop_last:
            raise UsageError("pad fills the last batches, which drop_last leaves out: give one")
        if self.batch_size < 1 or self.ranks < 1:
            raise UsageError(f"batch_size {self.batch_size}, ranks {self.ranks}; both at least 1")
        if not 0 <= self.start <= self.epoch.length:
            raise UsageError(f"position {self.start} in an epoch of {self.epoch.length}")

    @property
    def steps(self) -> int:
        """How many steps there are; with drop_last only those with a full batch on every rank."""
        left, batch = self.epoch.length - self.start, self.batch_size * self.ranks
        # Rounded up, the last step may reach only some ranks.
        return left // batch if self.drop_last else -(-left // batch)

    def after(self, step: int) -> int:
        """The position where a run goes on when so many steps are done."""
        if not 0 <= step <= self.steps:
            raise UsageError(f"{step} steps done of {self.steps}")
        return min(self.start + step * self.batch_size * self.ranks, self.epoch.length)

    def positions(self, step: int, rank: int) -> Ints:
        """The positions of a step on a rank, int64, at most batch_size; at the end those again
        that fill it up, if `pad`."""
        if not (0 <= step < self.steps and 0 <= rank < self.ranks):
            raise UsageError(
                f"step {step} of {self.steps}, rank {rank} of {self.ranks}: out of range"
            )
        return self.positions_of(step, step + 1, rank)

    def positions_of(self, first_step: int, last_step: int, rank: int) -> Ints:
        """The positions of the steps first_step to last_step - 1 on a rank, int64."""
        if not self.pad:
            return self.fresh_of(first_step, last_step, rank)
        each = self.batch_size * self.ranks
        first, end = self.start + first_step * each, self.start + last_step * each
        full = np.arange(first + (rank - first) % self.ranks, end, self.ranks, dtype=np.int64)
        # What the rank read a step before is near; but a whole epoch may be shorter than a step.
        before = np.where(full < each, full, full - each) % max(self.epoch.length, 1)
        return np.where(full < self.epoch.length, full, before)

    def fresh_of(self, first_step: int, last_step: int, rank: int) -> Ints:
        """Those of them that were not read before: all, but for what `pad` adds at the end."""
        first, end = self.after(first_step), self.after(last_step)
        return np.arange(first + (rank - first) % self.ranks, end, self.ranks, dtype=np.int64)

    def padding(self, step: int, rank: int) -> int:
        """How many samples at the end of a batch are there to fill it, and came before."""
        if not self.pad or step + 1 < self.steps:
            return 0
        return self.batch_size - len(self.fresh_of(step, step + 1, rank))

    def batch(self, step: int, rank: int) -> Ints:
        """The row numbers of a step on a rank, int64, in the order of the batch."""
        return self.epoch.rows(self.positions(step, rank))

    def when(self, row: int) -> list[When]:
        """All places of a row from `start` on, by position; none if it is not selected.

        Raises RowOutOfRange for a row that the dataset does not have.
        """
        _, positions = self.epoch.positions(np.array([row], np.int64))
        return [self._when(p) for p in sorted(positions.tolist()) if p >= self.start]

    def _when(self, position: int) -> When:
        step = (position - self.start) // (self.batch_size * self.ranks)
        return When(
            position=position,
            step=step if step < self.steps else None,
            rank=position % self.ranks,
        )

    def coverage(self, first_step: int, last_step: int, rank: int | None = None) -> Coverage:
        """What one rank, or all together, read in the steps first_step to last_step - 1."""
        start, end = self.after(first_step), self.after(last_step)
        stride = 1 if rank is None else self.ranks
        first = start if rank is None else start + (rank - start) % self.ranks
        total = Coverage()
        for at in range(first, end, COVERAGE_BLOCK * stride):
            stop = min(at + COVERAGE_BLOCK * stride, end)
            positions = np.arange(at, stop, stride, dtype=np.int64)
            total += Coverage.of(positions, self.epoch.rows(positions))
        return total

    def steps_of(self, rank: int) -> int:
        """The steps that give a rank at least one sample: all, or all but the last."""
        steps = self.steps
        return steps - 1 if steps and not len(self.positions(steps - 1, rank)) else steps


class StepRows:
    """The rows of one rank's steps, found for many steps at a time.

    stride: between how many the steps are divided, in turns of one or more. Any step may be asked
    for; one that comes in another turn than the ones before takes longer. Each thread needs one
    of its own.
    """

    def __init__(self, plan: Plan, rank: int, stride: int = 1) -> None:
        self._plan, self._rank, self._stride = plan, rank, stride
        self._places: dict[int, int] = {}  # of steps, in the rows
        self._rows = np.empty(0, np.int64)

    def __call__(self, step: int, turn: int = 1) -> Ints:
        """The row numbers of a step, int64, in the order of the batch.

        turn: how many steps are asked for from this one on, before those of others.
        """
        if step not in self._places:
            self._find(step, turn)
        place, size = self._places[step], self._plan.batch_size
        return self._rows[place * size : (place + 1) * size]  # only the last may have fewer

    def _find(self, step: int, turn: int) -> None:
        plan, stride = self._plan, turn * self._stride
        turns = max(1, BLOCK_POSITIONS // (plan.batch_size * turn))
        if self._stride == 1:
            turn, turns = turn * turns, 1
        starts = range(step, plan.steps, stride)[:turns]
        runs = [range(start, min(start + turn, plan.steps)) for start in starts]
        positions = [plan.positions_of(run.start, run.stop, self._rank) for run in runs]
        self._rows = plan.epoch.rows(np.concatenate(positions))
        self._places = {found: place for place, found in enumerate(chain.from_iterable(runs))}
