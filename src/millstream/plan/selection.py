"""Which rows an order is over: intervals of chunks. Splits and subsamples only change these."""

from __future__ import annotations

import math
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
# How far a sum of fractions may be from 1 and still mean 1.
SLACK = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Selection:
    """Intervals of rows inside chunks: chunk, start, stop, and the copy it belongs to.

    int64 and read-only; sorted by copy, chunk, start; not empty; disjoint inside a copy. So a
    row may be selected once in each copy. Raises UsageError.
    """

    chunk: Ints
    start: Ints
    stop: Ints
    copy: Ints

    def __post_init__(self) -> None:
        for name in ("chunk", "start", "stop", "copy"):
            object.__setattr__(self, name, column(getattr(self, name), name))
        if len({len(self.chunk), len(self.start), len(self.stop), len(self.copy)}) != 1:
            raise UsageError("the columns of a selection differ in length")
        if (self.start >= self.stop).any():
            raise UsageError("a selection holds an interval without rows")
        copies, chunks = np.diff(self.copy), np.diff(self.chunk)
        apart = (chunks > 0) | ((chunks == 0) & (self.start[1:] >= self.stop[:-1]))
        if not ((copies > 0) | ((copies == 0) & apart)).all():
            raise UsageError("the intervals of a selection overlap or are not sorted")

    @staticmethod
    def whole(chunk_rows: npt.NDArray[np.integer]) -> Selection:
        """All rows of all chunks, once."""
        rows = column(chunk_rows, "chunk_rows")
        chunk = np.flatnonzero(rows)
        zeros = np.zeros_like(chunk)
        return Selection(chunk=chunk, start=zeros, stop=rows[chunk], copy=zeros)

    @property
    def rows(self) -> int:
        """How many rows are selected, each as often as it is."""
        return int((self.stop - self.start).sum())

    @property
    def copies(self) -> int:
        """One more than the last copy; 0 if no row is selected."""
        return int(self.copy[-1]) + 1 if len(self.copy) else 0

    def digest(self) -> str:
        """32 hex digits that name the selection."""
        hasher = blake2b(digest_size=16)
        for array in (self.chunk, self.start, self.stop, self.copy):
            hasher.update(array.astype("<i8").tobytes())
        return hasher.hexdigest()


def column(values: npt.ArrayLike, name: str) -> Ints:
    """A read-only int64 copy of a one-dimensional array of whole numbers from 0; UsageError."""
    given = np.asarray(values)
    array = given.astype(np.int64)
    whole = given.dtype.kind in "iu" or not given.size
    if array.ndim != 1 or not whole or (array < 0).any():
        raise UsageError(
            f"{name} is an array of {given.dtype} and shape {given.shape}, expected one dimension "
            "of whole numbers from 0"
        )
    array.flags.writeable = False
    return array


def split(
    selection: Selection, fractions: Sequence[float], *, seed: int, by_chunk: bool = False
) -> list[Selection]:
    """Disjoint parts of a selection, the first fractions[0] of its rows large, and so on.

    Rows are dealt out in short strips, so that each part is like the whole even if the data is
    sorted; by_chunk: in whole intervals, so that each part is of few chunks. Counts are exact to a
    row; with fractions that sum to 1 every row is in one part. What is dealt are the rows of each
    copy: two copies of a row may come into two parts. Raises UsageError.
    """
    if not (all(part > 0 for part in fractions) and 0 < math.fsum(fractions) <= 1 + SLACK):
        raise UsageError(f"splits are {list(fractions)}, expected positive, with a sum up to 1")
    strips = selection if by_chunk else _strips(selection)
    dealt = shuffled(np.arange(len(strips.chunk)), derive("split", seed))
    borders = np.cumsum([0, *_counts(selection.rows, fractions)])
    return [_dealt(strips, dealt, first, last) for first, last in pairwise(borders.tolist())]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """One part of a split: the part of this number, from 0. The rest is as in `split`."""

    fractions: tuple[float, ...]
    number: int
    seed: int
    by_chunk: bool

    def of(self, selection: Selection) -> Selection:
        """That part of a selection."""
        parts = split(selection, self.fractions, seed=self.seed, by_chunk=self.by_chunk)
        return parts[self.number]


def subsample(selection: Selection, fraction: float, *, seed: int) -> Selection:
    """A part of a selection, or for fractions over 1 whole copies and a part.

    Raises UsageError, also if no row would be left.
    """
    if not 0 < fraction < math.inf:
        raise UsageError(f"subsample is {fraction!r}, expected a positive number")
    whole = int(fraction)
    parts = [selection] * whole
    if fraction > whole:
        parts += split(selection, [fraction - whole], seed=seed)
    result = Selection(
        chunk=np.concatenate([part.chunk for part in parts]),
        start=np.concatenate([part.start for part in parts]),
        stop=np.concatenate([part.stop for part in parts]),
        copy=np.concatenate([part.copy + n * selection.copies for n, part in enumerate(parts)]),
    )
    if not result.rows:
        raise UsageError(f"subsample {fraction!r} of {selection.rows:,} rows leaves none")
    return result


def _counts(rows: int, fractions: Sequence[float]) -> list[int]:
    """Whole numbers near fractions * rows, by largest remainder."""
    whole = math.fsum(fractions)
    unit = whole if abs(whole - 1) <= SLACK else 1.0
    exact = [fraction / unit * rows for fraction in fractions]
    counts = [int(value) for value in exact]
    missing = round(math.fsum(exact)) - sum(counts)
    by_remainder = sorted(range(len(exact)), key=lambda i: (counts[i] - exact[i], i))
    for index in by_remainder[:missing]:
        counts[index] += 1
    return counts


def _strips(selection: Selection) -> Selection:
    """The same rows, in short intervals."""
    length = max(1, selection.rows // MAX_STRIPS)
    pieces = -(-(selection.stop - selection.start) // length)
    owner = np.repeat(np.arange(len(pieces)), pieces)
    number = np.arange(len(owner)) - (np.cumsum(pieces) - pieces)[owner]
    start = selection.start[owner] + number * length
    return Selection(
        chunk=selection.chunk[owner],
        start=start,
        stop=np.minimum(start + length, selection.stop[owner]),
        copy=selection.copy[owner],
    )


def _dealt(strips: Selection, order: Ints, first: int, last: int) -> Selection:
    """The rows first to last - 1 of strips that are dealt out in an order."""
    lengths = (strips.stop - strips.start)[order]
    ends = np.cumsum(lengths)
    # Of the strips at both borders only a part belongs here, of those beyond nothing.
    start = strips.start[order] + np.clip(first - (ends - lengths), 0, lengths)
    stop = strips.stop[order] - np.clip(ends - last, 0, lengths)
    mine = np.flatnonzero(start < stop)
    mine = mine[np.argsort(order[mine])]
    of = order[mine]
    return _joined(strips.chunk[of], start[mine], stop[mine], strips.copy[of])


def _joined(chunk: Ints, start: Ints, stop: Ints, copy: Ints) -> Selection:
    """Sorted intervals, with those that touch made one."""
    apart = (np.diff(chunk) != 0) | (np.diff(copy) != 0) | (start[1:] != stop[:-1])
    opens, closes = np.ones(len(chunk), np.bool_), np.ones(len(chunk), np.bool_)
    opens[1:], closes[:-1] = apart, apart
    return Selection(chunk=chunk[opens], start=start[opens], stop=stop[closes], copy=copy[opens])
