"""Which rows an order is over: intervals of chunks. Splits and subsamples only change these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from millstream.errors import UsageError
from millstream.plan.permute import Ints, derive, shuffled

# A split deals out strips of rows; this many are fine enough and cheap for any dataset.
MAX_STRIPS = 65_536


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Selection:
    """Intervals of rows inside chunks, int64: chunk, start, stop, and the copy it belongs to.

    Sorted by copy, chunk, start; not empty; disjoint inside a copy. A row may be selected once
    in each copy.
    """

    chunk: Ints
    start: Ints
    stop: Ints
    copy: Ints

    def __post_init__(self) -> None:
        lengths = {len(array) for array in (self.chunk, self.start, self.stop, self.copy)}
        if len(lengths) != 1:
            raise ValueError("the columns of a selection differ in length")
        if (self.stop <= self.start).any() or (self.start < 0).any():
            raise ValueError("a selection holds an interval without rows")
        same = (self.copy[1:] == self.copy[:-1]) & (self.chunk[1:] == self.chunk[:-1])
        later = (self.copy[1:] > self.copy[:-1]) | (
            (self.copy[1:] == self.copy[:-1]) & (self.chunk[1:] > self.chunk[:-1])
        )
        if not (later | (same & (self.start[1:] >= self.stop[:-1]))).all():
            raise ValueError("the intervals of a selection overlap or are not sorted")

    @staticmethod
    def whole(chunk_rows: npt.NDArray[np.integer]) -> Selection:
        """All rows of all chunks, once."""
        rows = chunk_rows.astype(np.int64)
        chunk = np.flatnonzero(rows).astype(np.int64)
        zeros = np.zeros(len(chunk), np.int64)
        return Selection(chunk=chunk, start=zeros, stop=rows[chunk], copy=zeros)

    @property
    def rows(self) -> int:
        """How many rows are selected, each as often as it is."""
        return int((self.stop - self.start).sum())

    def digest(self) -> str:
        """32 hex digits that name the selection."""
        hasher = blake2b(digest_size=16)
        for array in (self.chunk, self.start, self.stop, self.copy):
            hasher.update(array.astype("<i8").tobytes())
        return hasher.hexdigest()


def split(selection: Selection, fractions: Sequence[float], *, seed: int) -> list[Selection]:
    """Disjoint parts of a selection, the first fractions[0] of its rows large, and so on.

    Rows are dealt out in short runs, so that each part is like the whole even if the data is
    sorted. Counts are exact to a row; with fractions that sum to 1 every row is in one part.
    Raises UsageError.
    """
    if not fractions or not all(part > 0 for part in fractions) or sum(fractions) > 1 + 1e-9:
        raise UsageError(f"fractions are {list(fractions)}, expected positive, with a sum up to 1")
    counts = _counts(selection.rows, fractions)
    strips = _strips(selection)
    order = shuffled(np.arange(len(strips), dtype=np.int64), derive("split", seed))
    dealt = strips[order]
    ends = np.cumsum(dealt[:, 2] - dealt[:, 1])
    borders = np.cumsum([0, *counts])
    return [_between(dealt, ends, a, b) for a, b in pairwise(borders)]


def subsample(selection: Selection, fraction: float, *, seed: int) -> Selection:
    """A part of a selection, or for fractions over 1 whole copies and a part; UsageError."""
    if not fraction > 0 or fraction == float("inf"):
        raise UsageError(f"subsample is {fraction!r}, expected a positive number")
    copies = int(fraction)
    parts = [_as_copy(selection, copy) for copy in range(copies)]
    rest = fraction - copies
    if rest and round(rest * selection.rows):
        parts.append(_as_copy(split(selection, [rest], seed=seed)[0], copies))
    if not parts:
        raise UsageError(f"subsample {fraction!r} of {selection.rows:,} rows leaves none")
    columns = [np.concatenate([getattr(p, n) for p in parts]) for n in ("chunk", "start", "stop")]
    copy = np.concatenate([part.copy for part in parts])
    return Selection(chunk=columns[0], start=columns[1], stop=columns[2], copy=copy)


def _as_copy(selection: Selection, copy: int) -> Selection:
    if selection.copy.any():
        raise UsageError("a selection that already holds copies cannot be copied again")
    return Selection(
        chunk=selection.chunk,
        start=selection.start,
        stop=selection.stop,
        copy=np.full_like(selection.copy, copy),
    )


def _counts(rows: int, fractions: Sequence[float]) -> list[int]:
    """Whole numbers near fractions * rows, by largest remainder."""
    exact = [fraction * rows for fraction in fractions]
    counts = [int(value) for value in exact]
    total = min(rows, round(sum(exact)))
    by_remainder = sorted(range(len(exact)), key=lambda i: (counts[i] - exact[i], i))
    for index in by_remainder[: total - sum(counts)]:
        counts[index] += 1
    return counts


def _strips(selection: Selection) -> Ints:
    """The selected rows in short runs, a row each: (chunk, start, stop, copy)."""
    length = max(1, selection.rows // MAX_STRIPS)
    pieces = -(-(selection.stop - selection.start) // length)
    owner = np.repeat(np.arange(len(pieces)), pieces)
    number = np.arange(len(owner)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    start = selection.start[owner] + number * length
    stop = np.minimum(start + length, selection.stop[owner])
    return np.stack([selection.chunk[owner], start, stop, selection.copy[owner]], axis=1)


def _between(dealt: Ints, ends: Ints, first: int, last: int) -> Selection:
    """The rows first to last of the strips in the order in which they were dealt."""
    low = int(np.searchsorted(ends, first, side="right"))
    high = int(np.searchsorted(ends, last, side="left")) + 1
    taken = dealt[low:high].copy() if last > first else dealt[:0].copy()
    if len(taken):
        taken[-1, 2] -= ends[low + len(taken) - 1] - last
        taken[0, 1] = taken[0, 2] - (min(int(ends[low]), last) - first)
    taken = taken[np.lexsort((taken[:, 1], taken[:, 0], taken[:, 3]))]
    joins = np.zeros(len(taken), np.bool_)
    joins[1:] = (
        (taken[1:, 0] == taken[:-1, 0])
        & (taken[1:, 3] == taken[:-1, 3])
        & (taken[1:, 1] == taken[:-1, 2])
    )
    firsts = np.flatnonzero(~joins)
    lasts = np.append(firsts[1:], len(taken)) - 1 if len(taken) else firsts
    return Selection(
        chunk=taken[firsts, 0],
        start=taken[firsts, 1],
        stop=taken[lasts, 2],
        copy=taken[firsts, 3],
    )
