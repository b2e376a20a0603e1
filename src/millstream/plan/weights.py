"""How often each source of a mixture is drawn, as a tree of groups with weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from millstream.errors import UsageError

# Shares are whole numbers of this unit, so that counts are exact however far they are computed.
UNIT = 1 << 64

# From a position of the epoch to the weights of a group's members.
Curriculum = Callable[[int], Sequence[float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Sources that are drawn by weights; a member is a source's number, or a group.

    weights: one a member, in any unit; None: by their sizes; or a function of the position.
    until_all: whether the group goes on until its last member has ended, the weights of those
    that have ended shared out among the others; else it ends with the first. A member that is
    never drawn does not end. Raises UsageError.
    """

    members: tuple[int | Group, ...]
    weights: tuple[float, ...] | Curriculum | None
    until_all: bool

    def __post_init__(self) -> None:
        if not self.members:
            raise UsageError("a mixture of no datasets: give at least one")
        if isinstance(self.weights, tuple):
            checked_weights(self.weights, len(self.members), "weights")

    def sources(self) -> Iterator[int]:
        """The numbers of all sources below."""
        for member in self.members:
            if isinstance(member, Group):
                yield from member.sources()
            else:
                yield member

    @property
    def is_curriculum(self) -> bool:
        """Whether weights change with the position, here or below."""
        below = (member.is_curriculum for member in self.members if isinstance(member, Group))
        return callable(self.weights) or any(below)


def checked_weights(given: Any, count: int, origin: str) -> list[Fraction]:
    """So many weights, exactly as they are; UsageError, naming where they are from."""
    try:
        weights = [float(weight) for weight in given]
    except (TypeError, ValueError):
        raise UsageError(f"{origin}: got {given!r:.80}, expected {count} numbers") from None
    if len(weights) != count:
        raise UsageError(f"{origin}: got {len(weights)} numbers for {count} datasets")
    if not all(0 <= weight < math.inf for weight in weights) or not any(weights):
        raise UsageError(
            f"{origin}: got {weights}, expected numbers from 0, at least one of them above 0"
        )
    return [Fraction(weight) for weight in weights]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """The shares of all sources of a tree of groups. sizes: rows of each source."""

    tree: Group
    sizes: tuple[int, ...]

    def at(self, position: int, alive: Sequence[bool]) -> list[int]:
        """Each source's share in UNIT, with those that have ended left out.

        All 0 when nothing is to be drawn any more.
        """
        found = [0] * len(self.sizes)
        self._share(self.tree, Fraction(1), position, alive, found)
        return found

    def _share(
        self, group: Group, share: Fraction, position: int, alive: Sequence[bool], found: list[int]
    ) -> None:
        weights = self._weights(group, position)
        goes_on = [self._goes_on(member, position, alive) for member in group.members]
        if not self._group_goes_on(group, weights, goes_on):
            return
        left = [w if on else Fraction(0) for w, on in zip(weights, goes_on, strict=True)]
        if not any(left):  # only such are left as have the weight 0 here
            sizes = map(self._size, group.members)
            left = [
                Fraction(s) if on else Fraction(0) for s, on in zip(sizes, goes_on, strict=True)
            ]
        total = sum(left)
        if not total:
            return
        for member, weight in zip(group.members, left, strict=True):
            if isinstance(member, Group):
                self._share(member, share * weight / total, position, alive, found)
            else:
                found[member] = int(share * weight / total * UNIT)

    def _goes_on(self, member: int | Group, position: int, alive: Sequence[bool]) -> bool:
        if not isinstance(member, Group):
            return alive[member]
        goes_on = [self._goes_on(below, position, alive) for below in member.members]
        return self._group_goes_on(member, self._weights(member, position), goes_on)

    def _group_goes_on(
        self, group: Group, weights: Sequence[Fraction], goes_on: Sequence[bool]
    ) -> bool:
        if group.until_all:
            return any(goes_on)
        return all(on for on, weight in zip(goes_on, weights, strict=True) if weight)

    def _weights(self, group: Group, position: int) -> list[Fraction]:
        count = len(group.members)
        if group.weights is None:
            return [Fraction(self._size(member)) for member in group.members]
        if isinstance(group.weights, tuple):
            return checked_weights(group.weights, count, "weights")
        return checked_weights(
            group.weights(position), count, f"the weights at position {position:,}"
        )

    def _size(self, member: int | Group) -> Fraction:
        """How many draws there are in a member, but for what rounding and rounds leave out."""
        if not isinstance(member, Group):
            return Fraction(self.sizes[member])
        sizes = [self._size(below) for below in member.members]
        if member.until_all or not isinstance(member.weights, tuple):
            return Fraction(sum(sizes))
        weights = checked_weights(member.weights, len(sizes), "weights")
        ends = [size / weight for size, weight in zip(sizes, weights, strict=True) if weight]
        return min(ends) * sum(weights)


def as_weights(given: Any, count: int) -> tuple[float, ...] | Curriculum | None:
    """What a user passes as weights, for so many members; UsageError."""
    if given is None or callable(given):
        return given  # type: ignore[no-any-return]  # what it gives is checked when it is asked
    numbers = given.tolist() if isinstance(given, np.ndarray) else given
    return tuple(map(float, checked_weights(numbers, count, "weights")))
