"""What was delivered, held against what was planned."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
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
_NUMBERS = ("epoch", "rank", "ranks", "start", "stop", "steps")


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Steps, first to last, whose rows were not those of the plan."""

    first_step: int
    last_step: int
    delivered: Coverage
    planned: Coverage

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "first_step": self.first_step,
            "last_step": self.last_step,
            "delivered": self.delivered.to_json(),
            "planned": self.planned.to_json(),
        }

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Difference:
        """The inverse."""
        return Difference(
            first_step=int(value["first_step"]),
            last_step=int(value["last_step"]),
            delivered=Coverage.from_json(value["delivered"]),
            planned=Coverage.from_json(value["planned"]),
        )

    def __str__(self) -> str:
        if self.delivered.count == self.planned.count:
            rows = f"{self.planned.count:,} rows as planned, but not the planned ones"
        else:
            rows = f"{self.delivered.count:,} rows, planned were {self.planned.count:,}"
        return f"steps {self.first_step:,} to {self.last_step:,}: {rows}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CoverageReport:
    """Whether a rank was given just the planned rows, each at its position, in a part of an epoch.

    Attributes:
        run: Names the data, the order and the division; it is the same on all ranks of a run.
        epoch: Its number.
        rank: Whose report this is.
        ranks: Of how many.
        start: The first position, over all ranks, that the steps covered.
        stop: The position after the last one.
        steps: That were delivered.
        delivered: The count of rows and a 128-bit sum over hashes of (position, row); those of
            several ranks, or of the parts of an interrupted epoch, can be added up.
        planned: The same, of the plan.
        differences: The steps in which they are not equal.
    """

    run: str
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

    def combined(self, reports: Iterable[CoverageReport]) -> RanksReport:
        """This report with those of the other ranks: whether all got what was planned up to here.

        Args:
            reports: One of this rank may be among them, and several of a rank if they are the
                same: those of processes that share a replica.
        """
        return combine([self, *reports])

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "run": self.run,
            "epoch": self.epoch,
            "rank": self.rank,
            "ranks": self.ranks,
            "start": self.start,
            "stop": self.stop,
            "steps": self.steps,
            "exact": self.exact,
            "delivered": self.delivered.to_json(),
            "planned": self.planned.to_json(),
            "differences": [difference.to_json() for difference in self.differences],
        }

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> CoverageReport:
        """The inverse; raises UsageError."""
        try:
            numbers = {name: int(value[name]) for name in _NUMBERS}
            return CoverageReport(
                **numbers,
                run=str(value["run"]),
                delivered=Coverage.from_json(value["delivered"]),
                planned=Coverage.from_json(value["planned"]),
                differences=tuple(map(Difference.from_json, value["differences"])),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(f"not a report of coverage: {str(value)[:80]} ({error!r})") from None

    def __str__(self) -> str:
        place = f"epoch {self.epoch}, rank {self.rank} of {self.ranks}"
        what = f"{self.steps:,} steps, positions {self.start:,} to {self.stop:,}"
        found = (
            f"all {self.planned.count:,} planned rows came once, and no other"
            if self.exact
            else "not as planned: " + "; ".join(map(str, self.differences))
        )
        return f"{place}: {what}: {found}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RanksReport:
    """Whether all ranks together were given just the planned rows, in a part of an epoch.

    Attributes:
        epoch: Its number.
        ranks: How many there are.
        start: The position from which all ranks read.
        stop: The position up to which they read.
        delivered: The count and sum of all ranks.
        planned: The same, of the plan.
        problems: Why it is not as planned, in words.
    """

    epoch: int
    ranks: int
    start: int
    stop: int
    delivered: Coverage
    planned: Coverage
    problems: tuple[str, ...]

    @property
    def exact(self) -> bool:
        """Whether every planned row came once, on the rank of the plan, and no other."""
        return not self.problems

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "epoch": self.epoch,
            "ranks": self.ranks,
            "start": self.start,
            "stop": self.stop,
            "exact": self.exact,
            "delivered": self.delivered.to_json(),
            "planned": self.planned.to_json(),
            "problems": list(self.problems),
        }

    def __str__(self) -> str:
        place = f"epoch {self.epoch}, all {self.ranks} ranks"
        found = (
            f"all {self.planned.count:,} planned rows came once, and no other"
            if self.exact
            else "not as planned: " + "; ".join(self.problems)
        )
        return f"{place}: positions {self.start:,} to {self.stop:,}: {found}"


def combine(reports: Sequence[CoverageReport]) -> RanksReport:
    """The reports of all ranks as one; raises UsageError if there is none."""
    if not reports:
        raise UsageError("no reports of coverage: give that of each rank")
    of_rank = {report.rank: report for report in reports}
    first = min(of_rank.values(), key=lambda report: report.rank)
    each = of_rank.values()
    stop = max(report.stop for report in each)
    return RanksReport(
        epoch=first.epoch,
        ranks=first.ranks,
        start=first.start,
        stop=stop,
        delivered=sum((report.delivered for report in each), Coverage()),
        planned=sum((report.planned for report in each), Coverage()),
        problems=tuple(_problems(reports, of_rank, first, stop)),
    )


def _problems(
    reports: Sequence[CoverageReport],
    of_rank: Mapping[int, CoverageReport],
    first: CoverageReport,
    stop: int,
) -> Iterator[str]:
    missing = sorted({*range(first.ranks)} - {*of_rank})
    if missing:
        yield f"no report of the ranks {', '.join(map(str, missing))}"
    for report in sorted(dict.fromkeys(reports), key=lambda report: report.rank):
        who = f"rank {report.rank}"
        if report != of_rank[report.rank]:
            yield f"two processes of {who} report differently"
        if report.run != first.run:
            yield f"{who} read other data, in another order or divided otherwise than {first.rank}"
        elif (report.epoch, report.start) != (first.epoch, first.start):
            yield (
                f"{who} began at position {report.start:,} of epoch {report.epoch}, rank "
                f"{first.rank} at {first.start:,} of epoch {first.epoch}"
            )
        elif behind := range(report.stop + (report.rank - report.stop) % report.ranks, stop)[
            :: report.ranks
        ]:
            yield f"{who} has yet to read {len(behind):,} rows that are planned up to here"
        yield from (f"{who}, {difference}" for difference in report.differences)


class Tally:
    """Adds up what one rank is given of a plan, step by step.

    Hashes many steps at once, which takes a tenth of the time. run: as in `CoverageReport`.
    """

    def __init__(self, plan: Plan, rank: int, run: str) -> None:
        self._plan, self._rank, self._run = plan, rank, run
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
        positions = self._plan.fresh_of(first, self._steps, self._rank)
        taken = taken[: len(positions)]  # without those that only fill the last batch
        there = taken >= 0
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
            run=self._run,
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
