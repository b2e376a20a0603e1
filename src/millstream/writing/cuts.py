"""Where one chunk ends and the next begins: a rule that sees the rows' sizes and shapes only.

A chunk takes rows, in order, as long as the whole object stays within its limits; a row that
alone is larger gets a chunk of its own. The rule knows nothing of tasks, parts or workers, so
neither do the chunks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from millstream.format import (
    MAX_ROWS,
    Arrays,
    Part,
    Schema,
    Shape,
    array_blob_bytes,
    chunk_layout,
    object_bytes,
)
from millstream.format.part import Counts

Ref = TypeVar("Ref")

MAX_TOKENS = 1 << 48


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The most that a chunk may hold: bytes of the whole object, rows, and tokens."""

    nbytes: int
    rows: int = MAX_ROWS
    tokens: int = MAX_TOKENS

    def __post_init__(self) -> None:
        if self.nbytes < 1 or not 1 <= self.rows <= MAX_ROWS or self.tokens < 1:
            raise ValueError(f"a chunk holds at least one byte, row and token, got {self}")


@dataclass(frozen=True, slots=True)
class Piece(Generic[Ref]):
    """The rows start to stop of the part that the caller calls `ref`."""

    ref: Ref
    start: int
    stop: int


class Cutter(Generic[Ref]):
    """Takes parts in the order of the dataset and gives out chunks as lists of pieces."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._pending: list[tuple[Piece[Ref], Part]] = []
        self._sizes = _Sizes()

    def push(self, ref: Ref, part: Part, start: int = 0) -> Iterator[list[Piece[Ref]]]:
        """Adds the rows of a part from `start` on; yields the chunks that are now decided."""
        if start == part.rows:
            return
        self._pending.append((Piece(ref, start, part.rows), part))
        self._sizes.add(part, start, part.rows)
        while rows := self._decided():
            yield self._cut(rows)

    def finish(self) -> Iterator[list[Piece[Ref]]]:
        """Yields what is left."""
        if self._sizes.rows:
            yield self._cut(self._sizes.rows)

    def _decided(self) -> int:
        """The rows of the next chunk, or 0 if more rows could still join it."""
        most = min(self._sizes.rows, self._limits.rows)
        if not most:
            return 0
        if self._fits(most):
            return most if most == self._limits.rows else 0
        low, high = 1, most  # the last that fits (or 1), the first that does not
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._fits(middle) else (low, middle)
        return low if self._sizes.rows > low else 0

    def _fits(self, rows: int) -> bool:
        if self._sizes.tokens(rows) > self._limits.tokens:
            return False
        return self._sizes.object_bytes(rows) <= self._limits.nbytes

    def _cut(self, rows: int) -> list[Piece[Ref]]:
        taken: list[Piece[Ref]] = []
        left, pending, self._pending = rows, self._pending, []
        self._sizes = _Sizes()
        for piece, part in pending:
            middle = piece.start + min(left, piece.stop - piece.start)
            if middle > piece.start:
                taken.append(Piece(piece.ref, piece.start, middle))
                left -= middle - piece.start
            if middle < piece.stop:
                self._pending.append((Piece(piece.ref, middle, piece.stop), part))
                self._sizes.add(part, middle, piece.stop)
        return taken


class _Sizes:
    """The sizes and shapes of some consecutive rows; how long an object their first n make."""

    def __init__(self) -> None:
        self.rows = 0
        self._schema: Schema | None = None
        self._arrays: dict[int, _ArraySizes] = {}
        self._blobs: _Sums | None = None
        self._tokens: dict[int, tuple[str, _Sums]] = {}

    def add(self, part: Part, start: int, stop: int) -> None:
        if self._schema is None:
            self._schema = part.schema
            self._arrays = {f: _ArraySizes(a.dtype, a.shape(start)) for f, a in part.arrays.items()}
            self._blobs = None if part.blobs is None else _Sums()
            self._tokens = {f: (some.dtype, _Sums()) for f, some in part.tokens.items()}
        for field, sizes in self._arrays.items():
            sizes.add(part.arrays[field], start, stop)
        if self._blobs is not None and part.blobs is not None:
            self._blobs.add(part.blobs.sizes[start:stop])
        for field, (_, counts) in self._tokens.items():
            counts.add(part.tokens[field].counts[start:stop])
        self.rows += stop - start

    def object_bytes(self, rows: int) -> int:
        assert self._schema is not None
        arrays = {field: (sizes.dtype, sizes.stored(rows)) for field, sizes in self._arrays.items()}
        blobs = None if self._blobs is None else self._blobs.first(rows)
        tokens = {f: (dtype, counts.first(rows)) for f, (dtype, counts) in self._tokens.items()}
        return object_bytes(chunk_layout(self._schema, rows, arrays, blobs, tokens))

    def tokens(self, rows: int) -> int:
        return sum(counts.first(rows) for _, counts in self._tokens.values())


class _ArraySizes:
    """One array field: how many of the first rows share a shape, and their sizes as blobs."""

    def __init__(self, dtype: str, shape: Shape) -> None:
        self.dtype = dtype
        self._shape = shape
        self._alike, self._rows = 0, 0
        self._blobs = _Sums()

    def add(self, arrays: Arrays, start: int, stop: int) -> None:
        shapes = arrays.shapes if arrays.uniform else arrays.shapes[start:stop]
        alike = next((i for i, shape in enumerate(shapes) if shape != self._shape), stop - start)
        if self._alike == self._rows:
            self._alike += alike
        self._rows += stop - start
        sizes = [array_blob_bytes(self.dtype, shape) for shape in shapes]
        repeats = stop - start if arrays.uniform else 1
        self._blobs.add(np.repeat(np.array(sizes, np.int64), repeats))

    def stored(self, rows: int) -> Shape | int:
        return self._shape if rows <= self._alike else self._blobs.first(rows)


class _Sums:
    """Sums of the first n of a growing list of numbers."""

    def __init__(self) -> None:
        self._pieces: list[Counts] = []
        self._ends: Counts | None = None
        self._count = self._total = 0

    def add(self, numbers: Counts) -> None:
        self._pieces.append(numbers)
        self._ends = None
        self._count += len(numbers)
        self._total += int(numbers.sum())

    def first(self, count: int) -> int:
        if count == self._count:
            return self._total
        if self._ends is None:
            self._ends = np.cumsum(np.concatenate(self._pieces))
        return int(self._ends[count - 1])
