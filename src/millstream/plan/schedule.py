"""How many draws of each source come before any draw of a mixture's strand.

The shares are constant over a stage. A clock counts draws from the start of a stage; at any of its
ticks a source has been drawn its share of the clock, rounded. So counts are exact at every border
of a block, nothing adds up, and all of it is arithmetic: nothing is replayed.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from millstream.plan.permute import Ints
from millstream.plan.weights import UNIT, Shares

# Ticks of the clock from one border to the next.
BLOCK = 256
# So often an epoch a curriculum is asked for its weights, at the most.
MOST_STAGES = 4_096


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """The draws start to stop - 1 of a strand. before, within: of each source."""

    number: int
    start: int
    before: tuple[int, ...]
    within: tuple[int, ...]

    @property
    def stop(self) -> int:
        """The draw after the last."""
        return self.start + sum(self.within)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stage:
    """A stretch of constant shares, so many ticks long.

    room: the most draws of each source. before, due: what was drawn of each before the stage, and
    what should have been, in UNIT. block: the number of its first block.
    """

    room: tuple[int, ...]
    before: tuple[int, ...]
    due: tuple[int, ...]
    shares: tuple[int, ...]
    ticks: int
    block: int

    @property
    def blocks(self) -> int:
        return -(-self.ticks // BLOCK)

    @property
    def start(self) -> int:
        return sum(self.before)

    def drawn(self, border: int) -> tuple[int, ...]:
        """The draws of each source before a border between its blocks."""
        at = min(border * BLOCK, self.ticks)
        sources = zip(self.room, self.due, self.shares, strict=True)
        return tuple(min(room, _rounded(due + share * at)) for room, due, share in sources)

    def at_end(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """What was drawn of each source when the stage ends, and what should have been."""
        due = tuple(d + share * self.ticks for d, share in zip(self.due, self.shares, strict=True))
        return self.drawn(self.blocks), due

    def border_before(self, draw: int) -> int:
        """The last border at which no more draws than this were done."""
        border = min((draw - self.start) // BLOCK, self.blocks - 1)
        while sum(self.drawn(border)) > draw:
            border -= 1
        while sum(self.drawn(border + 1)) <= draw:
            border += 1
        return border

    def border_before_draw(self, source: int, draw: int) -> int:
        """The same, by the draws of one source."""
        # The first tick at which the rounded share is more than that.
        tick = -(-((draw + 1) * UNIT - UNIT // 2 - self.due[source]) // self.shares[source])
        return max(0, (tick - 1) // BLOCK)


def _rounded(units: int) -> int:
    return (units + UNIT // 2) // UNIT


class Schedule:
    """The draws of a strand, and when each source ends.

    room: the most draws of each source. A draw stands for `width` positions, the first of all for
    those from `first` on: a curriculum is asked by position.
    """

    def __init__(self, shares: Shares, room: tuple[int, ...], *, width: int, first: int) -> None:
        self._shares, self._room = shares, room
        self._width, self._first = width, first
        self._stages = list(self._made())
        self._starts = [stage.start for stage in self._stages]

    @cached_property
    def drawn(self) -> tuple[int, ...]:
        """The draws of each source up to the end."""
        return self._stages[-1].at_end()[0] if self._stages else (0,) * len(self._room)

    @property
    def length(self) -> int:
        """All draws."""
        return sum(self.drawn)

    def block_at(self, draw: int) -> Block:
        """The block of a draw."""
        stage = self._stages[bisect_right(self._starts, draw) - 1]
        return _block(stage, stage.border_before(draw))

    def block_of(self, source: int, draw: int) -> Block:
        """The block of the n-th draw of a source, from 0."""
        number = bisect_right(self._stages, draw, key=lambda stage: stage.before[source]) - 1
        stage = self._stages[number]
        return _block(stage, stage.border_before_draw(source, draw))

    def around(self, source: int, draws: Ints) -> tuple[Ints, Ints]:
        """For each n-th draw of a source, a draw of the strand before it and one after it.

        Not far: about a block away.
        """
        ticks, shares = self._ticks, self._due[:, source]
        clock = np.interp(draws + 0.5, shares, ticks)
        beyond = BLOCK + len(self._room)
        first = np.clip(np.floor(clock) - beyond, 0, self.length - 1)
        last = np.clip(np.ceil(clock) + beyond, 0, self.length - 1)
        return first.astype(np.int64), last.astype(np.int64)

    def numbers(self) -> Iterator[tuple[int, ...]]:
        """All numbers that decide the schedule."""
        for stage in self._stages:
            yield (stage.ticks, *stage.shares)

    @cached_property
    def _ticks(self) -> npt.NDArray[np.float64]:
        """When the stages begin, and the last ends, on one clock."""
        return np.cumsum([0.0, *(float(stage.ticks) for stage in self._stages)])

    @cached_property
    def _due(self) -> npt.NDArray[np.float64]:
        """What is due of each source then: (stages + 1, sources)."""
        rows = [stage.due for stage in self._stages] + [self._stages[-1].at_end()[1]]
        return np.array([[due / UNIT for due in row] for row in rows])

    def _made(self) -> Iterator[_Stage]:
        drawn = due = (0,) * len(self._room)
        block = 0
        most = self._most_ticks()
        while any(shares := self._shares_after(drawn)):
            ends = (
                -(-(room * UNIT - d) // share)
                for room, d, share in zip(self._room, due, shares, strict=True)
                if share
            )
            stage = _Stage(
                room=self._room,
                before=drawn,
                due=due,
                shares=tuple(shares),
                ticks=min(*ends, most) if most else min(ends),
                block=block,
            )
            yield stage
            drawn, due = stage.at_end()
            block += stage.blocks

    def _shares_after(self, drawn: tuple[int, ...]) -> list[int]:
        alive = [count < room for count, room in zip(drawn, self._room, strict=True)]
        return self._shares.at(self._first + self._width * sum(drawn), alive)

    def _most_ticks(self) -> int | None:
        """After so many ticks a curriculum is asked again."""
        if not self._shares.tree.is_curriculum:
            return None
        return BLOCK * max(1, sum(self._room) // (BLOCK * MOST_STAGES))


def _block(stage: _Stage, border: int) -> Block:
    before, after = stage.drawn(border), stage.drawn(border + 1)
    return Block(
        number=stage.block + border,
        start=sum(before),
        before=before,
        within=tuple(b - a for a, b in zip(before, after, strict=True)),
    )
