"""A fingerprint of what was read: if two sets of (position, row) pairs differ, so do theirs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from millstream.errors import UsageError
from millstream.plan.permute import Ints, Keys, derive, keyed

_MODULUS = 1 << 128
_HEX = re.compile("[0-9a-f]{32}")
_HALVES = derive("coverage", 1), derive("coverage", 2)


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many pairs, and the sum of a 128-bit hash of each, modulo 2**128.

    Coverages of disjoint sets add up, in any order; a difference may count below zero.
    """

    count: int = 0
    total: int = 0

    def __post_init__(self) -> None:
        if type(self.count) is not int or type(self.total) is not int:
            raise UsageError("the count and the total of a coverage are integers")
        if not 0 <= self.total < _MODULUS:
            raise UsageError("the total of a coverage has 128 bits and no sign")

    @staticmethod
    def of(positions: Ints, rows: Ints) -> Coverage:
        """Of rows read at positions, one each; UsageError."""
        if len(positions) != len(rows):
            raise UsageError(f"{len(rows)} rows at {len(positions)} positions, expected as many")
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
        match value:
            case {"count": int(count), "total": str(total)} if _HEX.fullmatch(total):
                return Coverage(count, int(total, 16))
        raise UsageError(f"not a coverage, expected a count and 32 hex digits: {str(value)[:80]}")


def _sum(values: Keys) -> int:
    """The exact sum of up to 2**32 numbers of 64 bits."""
    high = int((values >> np.uint64(32)).sum(dtype=np.uint64))
    low = int((values & np.uint64(0xFFFFFFFF)).sum(dtype=np.uint64))
    return (high << 32) + low
