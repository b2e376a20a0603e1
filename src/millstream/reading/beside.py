"""The rows of several datasets side by side as one feed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from millstream.errors import UnsupportedError
from millstream.format import Field
from millstream.plan import (
    AnyEpoch,
    AnyOrder,
    SideBySide,
    SideBySideEpoch,
    shortened,
    shortest,
)
from millstream.reading.explained import ChunkCosts, Costed
from millstream.reading.feed import Feed, MakePositions, Passing, Read
from millstream.reading.output import Room
from millstream.reading.reader import Empty, Rows
from millstream.reading.several import shuffled
from millstream.reading.stats import ReadStats, total
from millstream.reading.together import Part, Together


@dataclass(frozen=True, kw_only=True, eq=False)
class SideBySideStream:
    """The feeds of several datasets, and what decides how far they are read.

    told: for each whether it is shuffled, None where nobody has said. length: the samples of an
    epoch, None for those of the shortest.
    """

    feeds: tuple[Feed, ...]
    told: tuple[bool | None, ...]
    length: int | None
    goes_on: bool

    @property
    def version_digest(self) -> str:
        """Names the versions of the data."""
        return "+".join(shortened(feed.version_digest) for feed in self.feeds)

    def order(
        self,
        ranks: int,
        saved: Mapping[str, Any] | None = None,
        *,
        shuffle: bool | None = None,
        batch_size: int | None = None,
    ) -> SideBySide:
        """The order on so many ranks; settings that were left open are taken from `saved`."""
        told = (saved or {}).get("datasets")
        known = [*(told if isinstance(told, list) else ()), *[None] * len(self.feeds)]
        sources = tuple(
            feed.order(
                ranks,
                open_settings if isinstance(open_settings, Mapping) else None,
                shuffle=shuffled(number, of, shuffle),
            )
            for number, (feed, open_settings, of) in enumerate(
                zip(self.feeds, known, self.told, strict=False)
            )
        )
        return SideBySide(
            sources=sources,
            length=shortest(sources) if self.length is None else self.length,
            goes_on=self.goes_on and self.length is not None,
        )

    def read(self, epoch: AnyEpoch, rows: Rows, at: MakePositions, empty: Empty = np.empty) -> Read:
        """A row of each dataset for each row, read and verified.

        What decoding draws is keyed as in each dataset by itself, in its own epochs: `at` is not
        needed.
        """
        ours = cast(SideBySideEpoch, epoch)  # of an order that `order` made
        return _Beside(rows, [self._read_one(n, ours, rows, empty) for n in range(len(self.feeds))])

    def _read_one(
        self, number: int, epoch: SideBySideEpoch, rows: Rows, empty: Empty
    ) -> tuple[Rows, Read]:
        """The rows of one dataset at positions, by their numbers and as they were read."""
        stretches = list(epoch.stretches(number, rows))
        if len(stretches) > 1:
            empty = np.empty
        wanted, parts = np.empty_like(rows), []
        for stretch in stretches:
            turn = epoch.source_epoch(number, stretch.epoch)
            found = wanted[stretch.here] = turn.rows(stretch.at)
            read = self.feeds[number].read(turn, found, _known(stretch.at), empty)
            parts.append(Part(read, stretch.here, read.taken))
        return wanted, parts[0].read if len(parts) == 1 else Together(parts)

    def ahead(
        self, order: AnyOrder, epoch: int, start: int, *, rank: int, ranks: int, among: int = 1
    ) -> _AheadOfAll:
        """Has fetched what a rank needs of each dataset."""
        beside = cast(SideBySide, order)  # which `order` made
        ours = beside.epoch(epoch)
        return _AheadOfAll(self.feeds, ours, start, rank, ranks, among * len(self.feeds))

    def costs(self, epoch: AnyEpoch, rank: int, ranks: int) -> Iterator[ChunkCosts]:
        """The chunks that a rank needs in an epoch, of each dataset in all epochs of its own."""
        ours = cast(SideBySideEpoch, epoch)  # of an order that `order` made
        for number, feed in enumerate(self.feeds):
            if not isinstance(feed, Costed):
                raise UnsupportedError("only datasets of chunks can say what they cost")
            rows = ours.order.sources[number].length
            first, at = ours.place(number, 0)
            last, _ = ours.place(number, ours.length - 1)
            turns = []
            for turn in range(first, last + 1):
                start = (turn - first) * rows - at  # where this epoch of the dataset begins
                theirs = ours.source_epoch(number, turn)
                found = feed.costs(theirs, (rank - start) % ranks, ranks)
                turns.append([costs.moved(start, ours.length) for costs in found])
            for costs in zip(*turns, strict=True):
                yield ChunkCosts.joined(costs)

    @property
    def is_near(self) -> bool:
        """Whether all of it is read where it lies."""
        return all(feed.is_near for feed in self.feeds)

    @property
    def stats(self) -> ReadStats:
        """What this process has read of data that is far away, whole chunks not counted."""
        return total(feed.stats for feed in self.feeds)

    def fetched(self) -> ReadStats:
        """The whole chunks that this process and its workers had fetched."""
        return total(feed.fetched() for feed in self.feeds)


class _AheadOfAll:
    """Goes ahead of each dataset in its own epochs, one after another."""

    def __init__(
        self,
        feeds: Sequence[Feed],
        epoch: SideBySideEpoch,
        start: int,
        rank: int,
        ranks: int,
        among: int,
    ) -> None:
        self._feeds, self._epoch, self._among = feeds, epoch, among
        self._rank, self._ranks = rank, ranks
        self._at: list[tuple[int, Passing] | None] = [None] * len(feeds)
        self.passed(start)

    def passed(self, position: int) -> None:
        """All positions of the epoch before this one were read."""
        for number in range(len(self._feeds)):
            turn, at = self._epoch.place(number, position)
            found = self._at[number]
            if found is None or found[0] != turn:
                if found is not None:  # what it held for the next epoch is taken over
                    found[1].passed(self._epoch.order.sources[number].length)
                found = self._at[number] = turn, self._begin(number, turn, position, at)
            found[1].passed(at)

    def _begin(self, number: int, turn: int, position: int, at: int) -> Passing:
        # Positions p of a rank have p mod R = r; those of its source are so many on.
        rank = (self._rank + at - position) % self._ranks
        return self._feeds[number].ahead(
            self._epoch.order.sources[number],
            turn,
            at,
            rank=rank,
            ranks=self._ranks,
            among=self._among,
        )


@dataclass(frozen=True, slots=True)
class _Tuple:
    """The structure of a tuple of samples."""

    parts: tuple[Read, ...]

    @property
    def fields(self) -> list[Field]:
        return [field for part in self.parts for field in part.source.fields]

    def rebuild(self, leaves: Sequence[Any]) -> tuple[Any, ...]:
        """A tuple of samples around one thing a field."""
        rest = iter(leaves)
        return tuple(
            part.source.rebuild([next(rest) for _ in part.source.fields]) for part in self.parts
        )


class _Beside:
    """Rows of several datasets, side by side."""

    def __init__(self, rows: Rows, reads: Sequence[tuple[Rows, Read]]) -> None:
        self._reads = tuple(read for _, read in reads)
        self.source = _Tuple(self._reads)
        self.waited = sum(read.waited for read in self._reads)
        self.taken = all_taken(rows, [(wanted, read.taken) for wanted, read in reads])

    def columns(self, output: Room) -> list[Any]:
        """The fields of all datasets."""
        return [column for read in self._reads for column in read.columns(output)]


def _known(positions: Rows) -> MakePositions:
    return lambda: positions


def all_taken(rows: Rows, parts: Sequence[tuple[Rows, Rows]]) -> Rows:
    """The rows for which each dataset gave the row that was wanted of it, others -1."""
    right = np.ones(len(rows), np.bool_)
    for wanted, taken in parts:
        right &= wanted == taken
    return np.where(right, rows, -1)
