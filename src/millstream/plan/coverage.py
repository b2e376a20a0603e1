"""A fingerprint of what was read: two sets of (position, row) pairs differ, and so do these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from millstream.errors import UsageError
from millstream.plan.permute import Ints, Keys, derive, keyed

_MODULUS = 1 << 128
_HALVES = derive("coverage", 1), derive("coverage", 2)


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many pairs, and the sum of a 128-bit hash of each, modulo 2**128.

    Coverages of disjoint sets add up, whatever the order.
    """

    count: int = 0
    total: int = 0

    @staticmethod
    def of(positions: Ints, rows: Ints) -> Coverage:
        """Of rows read at positions."""
        high, low = (_sum(keyed(keyed(half, positions), rows)) for half in _HALVES)
        return Coverage(len(positions), ((high << 64) + low) % _MODULUS)

    def __add__(self, other: Coverage) -> Coverage:
        return Coverage(self.count + other.count, (self.total + other.total) % _MODULUS)

    def __sub__(self, other: Coverage) -> Coverage:
        return Coverage(self.count - other.count, (self.total - other.total) % _MODULUS)

    def to_json(self) -> dict[str, int | str]:
        """As JSON values."""
        return {"count": self.count, "total": f"{self.total:032x}"}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Coverage:
        """The inverse; raises UsageError."""
        try:
            return Coverage(int(value["count"]), int(value["total"], 16) % _MODULUS)
        except (KeyError, TypeError, ValueError):
            raise UsageError(f"not a coverage: {str(value)[:80]}") from None


def _sum(values: Keys) -> int:
    """The exact sum of up to 2**32 numbers of 64 bits."""
    high = int((values >> np.uint64(32)).sum(dtype=np.uint64))
    low = int((values & np.uint64(0xFFFFFFFF)).sum(dtype=np.uint64))
    return (high << 32) + low
