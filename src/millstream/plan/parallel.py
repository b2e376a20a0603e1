"""Several orders side by side: at every position one of each, which begin anew at their ends.

A source goes through its own epochs one after another. Where it is at a position follows by one
division, so nothing is replayed, however often a source has begun anew.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Any

import numpy as np

from millstream.errors import RowOutOfRange, UsageError
from millstream.plan.order import check_positions
from millstream.plan.permute import Ints
from millstream.plan.protocol import AnyEpoch, AnyOrder

# The positions of an epoch without end: no run comes so far, and they fit an int64.
ENDLESS = 1 << 62
# How many epochs of a source an epoch without end may have.
_ENDLESS_EPOCHS = 1 << 40
# The settings that a source may have left open, and that a state has to tell.
OPEN = ("lanes", "window", "windows")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Some positions, of which a source reads those of one of its epochs.

    here: their indices. at: the positions in the source's epoch.
    """

    epoch: int
    here: Ints
    at: Ints


@dataclass(frozen=True, kw_only=True, eq=False)
class SideBySide:
    """What decides the order of several sources side by side; raises UsageError.

    A row is a position of the epoch: it stands for a row of each source. length: the positions of
    an epoch; ENDLESS for no end. goes_on: whether a source goes on in the next epoch where it was
    at the end of this; else it begins an epoch of its own with each.
    """

    sources: tuple[AnyOrder, ...]
    length: int
    goes_on: bool

    def __post_init__(self) -> None:
        if not self.sources or not all(source.length for source in self.sources):
            raise UsageError("datasets side by side: give at least one, and none without samples")
        if not 0 < self.length <= ENDLESS:
            raise UsageError(f"an epoch of {self.length} samples, expected at least 1")

    def begin(self, source: int, number: int) -> tuple[int, int]:
        """The epoch of a source, and its position there, where an epoch of ours begins."""
        rows = self.sources[source].length
        if self.length == ENDLESS:
            return number * _ENDLESS_EPOCHS, 0
        if self.goes_on:
            return divmod(number * self.length, rows)
        return number * -(-self.length // rows), 0

    def settings(self) -> dict[str, Any]:
        """All that the order depends on, as JSON values: two orders are equal if these are."""
        return {
            "length": "inf" if self.length == ENDLESS else self.length,
            "resume": self.goes_on,
            "datasets": [_told(source) for source in self.sources],
        }

    def epoch(self, number: int) -> SideBySideEpoch:
        """The order of one epoch, from 0."""
        return SideBySideEpoch(order=self, number=number)


def _told(source: AnyOrder) -> dict[str, Any]:
    settings = dict(source.settings())
    digest = blake2b(json.dumps(settings).encode(), digest_size=8).hexdigest()
    return {"digest": digest, **{name: settings[name] for name in OPEN if name in settings}}


@dataclass(frozen=True, kw_only=True, eq=False)
class SideBySideEpoch:
    """One epoch of sources side by side."""

    order: SideBySide
    number: int

    @property
    def length(self) -> int:
        """The number of positions."""
        return self.order.length

    def rows(self, positions: Ints) -> Ints:
        """The positions themselves; UsageError for one outside the epoch."""
        check_positions(positions, self.length)
        return positions

    def positions(self, rows: Ints) -> tuple[Ints, Ints]:
        """The rows themselves, as pairs (index into rows, position)."""
        if ((rows < 0) | (rows >= self.length)).any():
            raise RowOutOfRange(f"a row lies outside an epoch of {self.length:,} samples")
        return np.arange(len(rows)), rows

    def stretches(self, source: int, positions: Ints) -> Iterator[Stretch]:
        """What a source reads at positions."""
        first, start = self.order.begin(source, self.number)
        turn, at = np.divmod(positions + start, self.order.sources[source].length)
        for number in np.unique(turn).tolist():
            here = np.flatnonzero(turn == number)
            yield Stretch(epoch=first + number, here=here, at=at[here])

    def place(self, source: int, position: int) -> tuple[int, int]:
        """The epoch of a source, and the position in it, at a position."""
        first, start = self.order.begin(source, self.number)
        turn, at = divmod(position + start, self.order.sources[source].length)
        return first + turn, at

    def source_epoch(self, source: int, number: int) -> AnyEpoch:
        """An epoch of a source."""
        found = self._epochs.get((source, number))
        if found is None:
            self._forget(source, number)
            found = self._epochs[source, number] = self.order.sources[source].epoch(number)
        return found

    def _forget(self, source: int, number: int) -> None:
        """Of each source the epoch is kept where it is, and the one before."""
        for key in [key for key in self._epochs if key[0] == source and key[1] != number - 1]:
            del self._epochs[key]

    @cached_property
    def _epochs(self) -> dict[tuple[int, int], AnyEpoch]:
        return {}


def shortest(sources: Sequence[AnyOrder]) -> int:
    """The positions after which the first source has ended."""
    return min(source.length for source in sources)
