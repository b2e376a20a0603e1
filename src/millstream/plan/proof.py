"""What was delivered, held against what was planned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from millstream.errors import UsageError
from millstream.plan.coverage import Coverage
from millstream.plan.permute import Ints
from millstream.plan.plan import Plan

# The steps whose deliveries are summed up together, and so how near a difference can be named.
BLOCK_STEPS = 1_024
# Rows that are kept to be hashed together.
HASH_ROWS = 8_192


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Steps, first to last, whose rows were not those of the plan."""

    first_step: int
    last_step: int
    delivered: Coverage
    planned: Coverage

    def __str__(self) -> str:
        if self.delivered.count == self.planned.count:
            rows = f"{self.planned.count:,} rows as planned, but not the planned ones"
        else:
            rows = f"{self.delivered.count:,} rows, planned were {self.planned.count:,}"
        return f"steps {self.first_step:,} to {self.last_step:,}: {rows}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CoverageReport:
    """Whether a rank was given just the planned rows, each at its position, in a part of an epoch.

    start, stop: the positions, over all ranks, that the steps covered. delivered, planned: the
    count of rows and a 128-bit sum over hashes of (position, row); those of several ranks, or of
    the parts of an interrupted epoch, can be added up. differences: where they are not equal.
    """

    epoch: int
    rank: int
    ranks: int
    start: int
    stop: int
    steps: int
    delivered: Coverage
    planned: Coverage
    differences: tuple[Difference, ...]

    @property
    def exact(self) -> bool:
        """Whether every planned row came once, at its position, and no other."""
        return not self.differences

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "epoch": self.epoch,
            "rank": self.rank,
            "ranks": self.ranks,
            "start": self.start,
            "stop": self.stop,
            "steps": self.steps,
            "exact": self.exact,
            "delivered": self.delivered.to_json(),
            "planned": self.planned.to_json(),
            "differences": [str(difference) for difference in self.differences],
        }

    def __str__(self) -> str:
        place = f"epoch {self.epoch}, rank {self.rank} of {self.ranks}"
        what = f"{self.steps:,} steps, positions {self.start:,} to {self.stop:,}"
        found = (
            f"all {self.planned.count:,} planned rows came once, and no other"
            if self.exact
            else "not as planned: " + "; ".join(map(str, self.differences))
        )
        return f"{place}: {what}: {found}"


class Tally:
    """Adds up what one rank is given of a plan, step by step.

    Hashes many steps at once, which takes a tenth of the time.
    """

    def __init__(self, plan: Plan, rank: int) -> None:
        self._plan, self._rank = plan, rank
        self._steps = 0
        self._blocks: list[Coverage] = []
        self._waiting: list[Ints] = []  # of the last steps: not yet in a block
        self._rows = 0  # in these

    def add(self, step: int, taken: Ints) -> None:
        """The next step was delivered: the row at each of its positions, -1 for none."""
        if step != self._steps:
            raise UsageError(f"step {step} was delivered, the next one is {self._steps}")
        self._waiting.append(taken)
        self._steps, self._rows = step + 1, self._rows + len(taken)
        if self._rows >= HASH_ROWS or self._steps % BLOCK_STEPS == 0:
            self._hash()

    def _hash(self) -> None:
        if not self._waiting:
            return
        first, taken = self._steps - len(self._waiting), np.concatenate(self._waiting)
        self._waiting, self._rows = [], 0
        there = taken >= 0
        positions = self._plan.positions_of(first, self._steps, self._rank)
        block = first // BLOCK_STEPS
        self._blocks += [Coverage()] * (block + 1 - len(self._blocks))
        self._blocks[block] += Coverage.of(positions[there], taken[there])

    def report(self) -> CoverageReport:
        """What came so far against the plan; takes time in proportion to the rows."""
        self._hash()
        found, planned, delivered = [], Coverage(), Coverage()
        for block, got in enumerate(self._blocks):
            first = block * BLOCK_STEPS
            last = min(first + BLOCK_STEPS, self._steps)
            wanted = self._plan.coverage(first, last, self._rank)
            planned, delivered = planned + wanted, delivered + got
            if got != wanted:
                found.append(
                    Difference(first_step=first, last_step=last - 1, delivered=got, planned=wanted)
                )
        return CoverageReport(
            epoch=self._plan.epoch.number,
            rank=self._rank,
            ranks=self._plan.ranks,
            start=self._plan.start,
            stop=self._plan.after(self._steps),
            steps=self._steps,
            delivered=delivered,
            planned=planned,
            differences=tuple(found),
        )
