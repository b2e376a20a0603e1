"""The order of an epoch, as a function of positions.

1. The chunks are permuted and laid end to end.
2. That line is cut into L lanes of equal length.
3. In a lane rows are permuted inside windows, small ones first, so that the first batches need
   only the heads of chunks.
4. Position p reads lane p mod L, at offset p div L.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from millstream.errors import UsageError
from millstream.plan.permute import Ints, derive, keyed, permute, shuffled, unpermute
from millstream.plan.selection import Selection

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
    """What decides the order of all epochs.

    chunk_rows: the rows of every chunk of the version; row numbers count through all of them.
    selection: the rows to read. window: in rows of a lane. lanes: L.
    """

    chunk_rows: Ints
    selection: Selection
    seed: int
    shuffle: bool
    window: int
    lanes: int

    def __post_init__(self) -> None:
        if self.window < 1 or self.lanes < 1:
            raise UsageError(f"window {self.window} and lanes {self.lanes}; both at least 1")
        if len(self.selection.chunk) and int(self.selection.chunk.max()) >= len(self.chunk_rows):
            raise UsageError("a selection names a chunk that the dataset does not have")
        if (self.selection.stop > self.chunk_rows[self.selection.chunk]).any():
            raise UsageError("a selection goes past the end of a chunk")

    @property
    def length(self) -> int:
        """N, the positions of an epoch."""
        return self.selection.rows

    def settings(self) -> dict[str, int | bool | str]:
        """All that the order depends on, as JSON values: two orders are equal if these are."""
        layout = blake2b(self.chunk_rows.astype("<i8").tobytes(), digest_size=16).hexdigest()
        return {
            "seed": self.seed,
            "shuffle": self.shuffle,
            "window": self.window,
            "lanes": self.lanes,
            "selection": self.selection.digest(),
            "chunks": layout,
        }

    def epoch(self, number: int) -> Epoch:
        """The order of one epoch, from 0."""
        if number < 0:
            raise UsageError(f"epoch {number}; they count from 0")
        return Epoch(order=self, number=number)


@dataclass(frozen=True, kw_only=True, eq=False)
class Epoch:
    """One epoch of an order; built in O(chunks), asked in O(positions)."""

    order: Order
    number: int

    @property
    def length(self) -> int:
        """N, the number of positions."""
        return self._length

    def rows(self, positions: Ints) -> Ints:
        """The row numbers at positions 0 to N - 1, int64."""
        lanes = self.order.lanes
        lane, offset = positions % lanes, positions // lanes
        if self.order.shuffle:
            start, size, key = self._windows(lane, offset)
            offset = start + permute(offset - start, size, key)
        return self._rows_of_line(self._lane_start(lane) + offset)

    def positions(self, rows: Ints) -> tuple[Ints, Ints]:
        """All positions of rows, as pairs (index into rows, position); none for rows left out."""
        index, line = self._line_of_rows(rows)
        lane, offset = self._lane_of_line(line)
        if self.order.shuffle:
            start, size, key = self._windows(lane, offset)
            offset = start + unpermute(offset - start, size, key)
        return index, offset * self.order.lanes + lane

    # The line: intervals end to end ------------------------------------------------------------

    @cached_property
    def _length(self) -> int:
        return self.order.length

    @cached_property
    def _sequence(self) -> Ints:
        """The intervals of the selection in the order in which they are laid down."""
        selection = self.order.selection
        if not self.order.shuffle:
            return np.arange(len(selection.chunk), dtype=np.int64)
        chunks = selection.copy * len(self.order.chunk_rows) + selection.chunk
        return shuffled(chunks, derive("chunks", self.order.seed, self.number))

    @cached_property
    def _ends(self) -> Ints:
        """Where each laid-down interval ends on the line."""
        selection = self.order.selection
        return np.cumsum((selection.stop - selection.start)[self._sequence])

    @cached_property
    def _first_rows(self) -> Ints:
        """The number of the first row of each interval of the selection."""
        rows, selection = self.order.chunk_rows, self.order.selection
        return (np.cumsum(rows) - rows)[selection.chunk] + selection.start

    @cached_property
    def _shifts(self) -> Ints:
        """What to add to a place on the line to get a row number, for each laid-down interval."""
        selection = self.order.selection
        lengths = (selection.stop - selection.start)[self._sequence]
        return self._first_rows[self._sequence] - (self._ends - lengths)

    def _rows_of_line(self, line: Ints) -> Ints:
        return line + self._shifts[np.searchsorted(self._ends, line, side="right")]

    def _line_of_rows(self, rows: Ints) -> tuple[Ints, Ints]:
        selection, places = self.order.selection, self._places
        lengths = selection.stop - selection.start
        indices, lines = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for copy in range(int(selection.copy.max(initial=-1)) + 1):
            low, high = np.searchsorted(selection.copy, [copy, copy + 1])
            if low == high:
                continue
            near = np.searchsorted(self._first_rows[low:high], rows, side="right") - 1 + low
            near = np.maximum(near, low)
            inside = rows - self._first_rows[near]
            found = np.flatnonzero((inside >= 0) & (inside < lengths[near]))
            indices.append(found)
            lines.append(rows[found] - self._shifts[places[near[found]]])
        return np.concatenate(indices), np.concatenate(lines)

    @cached_property
    def _places(self) -> Ints:
        """The inverse of `_sequence`."""
        places = np.empty_like(self._sequence)
        places[self._sequence] = np.arange(len(places))
        return places

    # Lanes and windows ---------------------------------------------------------------------

    def _lane_start(self, lane: Ints) -> Ints:
        each, longer = divmod(self._length, self.order.lanes)
        return lane * each + np.minimum(lane, longer)

    def _lane_of_line(self, line: Ints) -> tuple[Ints, Ints]:
        each, longer = divmod(self._length, self.order.lanes)
        edge = longer * (each + 1)
        late = longer + (line - edge) // max(each, 1)
        lane = np.where(line < edge, line // (each + 1), late)
        return lane, line - self._lane_start(lane)

    def _windows(self, lane: Ints, offset: Ints) -> tuple[Ints, Ints, npt.NDArray[np.uint64]]:
        """The window that holds an offset of a lane: where it starts, its size, its key."""
        full = self.order.window
        growing = max(0, (-(-full // FIRST_WINDOW) - 1).bit_length())  # windows smaller than full
        grown = FIRST_WINDOW * ((1 << growing) - 1)
        early = np.frexp((offset // FIRST_WINDOW + 1).astype(np.float64))[1].astype(np.int64) - 1
        late = np.maximum(offset - grown, 0) // full
        is_early = offset < grown
        number = np.where(is_early, early, growing + late)
        ones = np.left_shift(1, np.where(is_early, early, 0))
        start = np.where(is_early, FIRST_WINDOW * (ones - 1), grown + late * full)
        each, longer = divmod(self._length, self.order.lanes)
        size = np.minimum(
            np.where(is_early, FIRST_WINDOW * ones, full), each + (lane < longer) - start
        )
        base = derive("window", self.order.seed, self.number)
        return start, size, keyed(keyed(base, lane), number)
