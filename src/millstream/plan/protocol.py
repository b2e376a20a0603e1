"""What an order is to those who follow it, whether it is one dataset's or a mixture's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from millstream.plan.permute import Ints


class AnyEpoch(Protocol):
    """One epoch of an order: which row lies at a position, and back."""

    @property
    def number(self) -> int:
        """Which epoch, from 0."""

    @property
    def length(self) -> int:
        """The number of positions."""

    def rows(self, positions: Ints) -> Ints:
        """The row numbers at positions, int64; UsageError for one outside the epoch."""

    def positions(self, rows: Ints) -> tuple[Ints, Ints]:
        """All positions of rows, as pairs (index into rows, position)."""


class AnyOrder(Protocol):
    """What decides the order of all epochs."""

    @property
    def length(self) -> int:
        """The positions of an epoch."""

    def settings(self) -> Mapping[str, Any]:
        """All that the order depends on, as JSON values: two orders are equal if these are."""

    def epoch(self, number: int) -> AnyEpoch:
        """The order of one epoch, from 0."""
