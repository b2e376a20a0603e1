"""The order of an epoch, as a function of positions.

1. The chunks are permuted and laid end to end.
2. That line is cut into L lanes of equal length.
3. In a lane rows are permuted inside windows, small ones first, so that the first batches need
   only the heads of chunks.
4. Position p reads lane p mod L, at offset p div L.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from millstream.errors import RowOutOfRange, UsageError
from millstream.plan.line import Line
from millstream.plan.permute import Ints, Keys, derive, keyed, permute, unpermute
from millstream.plan.selection import Selection, column

FIRST_WINDOW = 64
MAX_DEFAULT_LANES = 16


def default_lanes(*, shuffle: bool, chunks: int, ranks: int) -> int:
    """Not shuffled 1; shuffled 16, fewer with fewer chunks, as many as ranks beyond 16."""
    if not shuffle:
        return 1
    return ranks if ranks > MAX_DEFAULT_LANES else max(1, min(MAX_DEFAULT_LANES, chunks))


def default_window(
    *, chunk_rows: npt.NDArray[np.integer], lanes: int, bytes_per_row: float, budget_bytes: int
) -> int:
    """The larger of 8 mean chunks and 65,536 rows; all windows, twice, fit half the budget."""
    mean = float(chunk_rows.mean()) if len(chunk_rows) else 1.0
    fits = budget_bytes / 2 / (2 * lanes * max(bytes_per_row, 1e-9))
    return max(1, int(min(max(8 * mean, 65_536), fits)))


@dataclass(frozen=True, kw_only=True, eq=False)
class Order:
    """What decides the order of all epochs; raises UsageError.

    chunk_rows: the rows of every chunk of the version; row numbers count through all of them.
    selection: the rows to read. seed: of at most 128 bits. window: in rows of a lane. lanes: L.
    block_size: in tokens, where the rows are blocks of these.
    """

    chunk_rows: Ints
    selection: Selection
    seed: int
    shuffle: bool
    window: int
    lanes: int
    block_size: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "chunk_rows", column(self.chunk_rows, "chunk_rows"))
        if type(self.seed) is not int or self.seed.bit_length() > 128:
            raise UsageError(f"seed is {self.seed!r:.60}, expected an integer of up to 128 bits")
        for name, value in (("window", self.window), ("lanes", self.lanes)):
            if type(value) is not int or not 1 <= value < 1 << 62:
                raise UsageError(f"{name} is {value!r:.60}, expected a number from 1, below 2**62")
        if self.selection.chunk.max(initial=-1) >= len(self.chunk_rows):
            raise UsageError("a selection names a chunk that the dataset does not have")
        if (self.selection.stop > self.chunk_rows[self.selection.chunk]).any():
            raise UsageError("a selection goes past the end of a chunk")

    @cached_property
    def length(self) -> int:
        """N, the positions of an epoch."""
        return self.selection.rows

    def settings(self) -> dict[str, int | bool | str]:
        """All that the order depends on, as JSON values: two orders are equal if these are."""
        # First, so that a mismatch names it: what the rows are decides how many there are.
        block = {} if self.block_size is None else {"block_size": self.block_size}
        return {
            **block,
            "seed": self.seed,
            "shuffle": self.shuffle,
            "window": self.window,
            "lanes": self.lanes,
            **self._digests,
        }

    @cached_property
    def _digests(self) -> dict[str, str]:
        layout = blake2b(self.chunk_rows.astype("<i8").tobytes(), digest_size=16).hexdigest()
        return {"selection": self.selection.digest(), "chunks": layout}

    def epoch(self, number: int) -> Epoch:
        """The order of one epoch, from 0."""
        return Epoch(order=self, number=number)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Needs:
    """Chunks and the positions between which rows of them are read, by the first of these.

    int64, one entry for each stretch of a chunk in a lane, so a chunk may come more than once.
    All rows are read from position `first` to position `last`; perhaps not at these very two.
    """

    chunk: Ints
    first: Ints
    last: Ints


def check_positions(positions: Ints, length: int) -> None:
    """Raises UsageError for one that is outside an epoch of this length."""
    if ((positions < 0) | (positions >= length)).any():
        raise UsageError(f"a position lies outside an epoch of {length:,}")


@dataclass(frozen=True, kw_only=True, eq=False)
class Epoch:
    """One epoch of an order; built in O(chunks) when first asked, asked in O(positions)."""

    order: Order
    number: int

    def __post_init__(self) -> None:
        if self.number < 0:
            raise UsageError(f"epoch {self.number}; they count from 0")

    @property
    def length(self) -> int:
        """N, the number of positions."""
        return self.order.length

    def rows(self, positions: Ints) -> Ints:
        """The row numbers at positions, int64; UsageError for one outside 0 to N - 1."""
        check_positions(positions, self.length)
        lane, offset = positions % self.order.lanes, positions // self.order.lanes
        if self.order.shuffle:
            start, size, key = self._windows(lane, offset)
            offset = start + permute(offset - start, size, key)
        return self._line.rows(self._lane_start(lane) + offset)

    def positions(self, rows: Ints) -> tuple[Ints, Ints]:
        """All positions of rows, as pairs (index into rows, position).

        A row that is not selected has none, one in several copies several. Raises RowOutOfRange
        for a row that the dataset does not have.
        """
        if ((rows < 0) | (rows >= self._line.total)).any():
            raise RowOutOfRange(f"a row lies outside a dataset of {self._line.total:,} rows")
        index, place = self._line.places(rows)
        lane, offset = self._lane_of(place)
        if self.order.shuffle:
            start, size, key = self._windows(lane, offset)
            offset = start + unpermute(offset - start, size, key)
        return index, offset * self.order.lanes + lane

    def needs(self, rank: int, ranks: int) -> Needs:
        """Which chunks a rank reads, and when at the earliest and the latest."""
        chunk, ends = self._line.laid_out()
        lanes = np.arange(self.order.lanes)
        borders = self._lane_start(lanes[1:])
        # Each interval is cut where a lane ends; a piece lies in one chunk and one lane.
        stops = np.union1d(ends, borders)
        stops = stops[stops > 0]
        starts = np.concatenate([np.zeros(1, np.int64), stops[:-1]])[: len(stops)]
        lane, first = self._lane_of(starts)
        _, last = self._lane_of(stops - 1)
        if self.order.shuffle:
            first, _, _ = self._windows(lane, first)
            start, size, _ = self._windows(lane, last)
            last = start + size - 1
        # Positions p of a rank have p mod R = r, those of a lane p mod L = l.
        mine = (lane - rank) % math.gcd(self.order.lanes, ranks) == 0
        needs = Needs(
            chunk=chunk[np.searchsorted(ends, starts, side="right")][mine],
            first=(first * self.order.lanes + lane)[mine],
            last=(last * self.order.lanes + lane)[mine],
        )
        by_time = np.argsort(needs.first, kind="stable")
        return Needs(
            chunk=needs.chunk[by_time], first=needs.first[by_time], last=needs.last[by_time]
        )

    @cached_property
    def _line(self) -> Line:
        order = self.order
        key = derive("chunks", order.seed, self.number) if order.shuffle else None
        return Line(chunk_rows=order.chunk_rows, selection=order.selection, key=key)

    def _lane_start(self, lane: Ints) -> Ints:
        """The place where a lane starts: each has N div L rows, the first N mod L one more."""
        each, longer = divmod(self.length, self.order.lanes)
        return lane * each + np.minimum(lane, longer)

    def _lane_of(self, place: Ints) -> tuple[Ints, Ints]:
        """The lane and the offset in it of a place."""
        each, longer = divmod(self.length, self.order.lanes)
        # Counted as if all lanes were of the longer kind, or all of the shorter.
        lane = np.maximum(place // (each + 1), (place - longer) // max(each, 1))
        return lane, place - self._lane_start(lane)

    def _windows(self, lane: Ints, offset: Ints) -> tuple[Ints, Ints, Keys]:
        """The windows that hold offsets of lanes: where they start, their sizes, their keys."""
        number, start, size = window_at(offset, self.order.window)
        lane_rows = self._lane_start(lane + 1) - self._lane_start(lane)
        base = derive("window", self.order.seed, self.number)
        return start, np.minimum(size, lane_rows - start), keyed(keyed(base, lane), number)


def window_at(offset: Ints, full: int) -> tuple[Ints, Ints, Ints]:
    """Number, start and size of the window that holds an offset, in a lane without end.

    Sizes are 64, 128, 256, ... as long as they are below `full`, then `full`.
    """
    growing = (-(-full // FIRST_WINDOW) - 1).bit_length()
    grown = FIRST_WINDOW * ((1 << growing) - 1)  # rows in windows that grow
    # The window n of those starts at 64 * (2**n - 1).
    early = np.frexp((offset // FIRST_WINDOW + 1).astype(np.float64))[1].astype(np.int64) - 1
    late = np.maximum(offset - grown, 0) // full
    is_early = offset < grown
    ones = np.left_shift(1, np.where(is_early, early, 0))
    number = np.where(is_early, early, growing + late)
    start = np.where(is_early, FIRST_WINDOW * (ones - 1), grown + late * full)
    return number, start, np.where(is_early, FIRST_WINDOW * ones, full)
