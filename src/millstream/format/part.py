"""Encoded rows on their way into chunks.

A part is what encoding some consecutive rows gives: for each array field the values end to
end, and one blob a row for all other fields together. Parts are sliced and joined, never
encoded again; how the rows are spread over parts leaves no trace in a chunk.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from millstream.format.codecs import Shape, Source
from millstream.format.schema import Schema
from millstream.format.tokens import Tokens

Bytes = npt.NDArray[np.uint8]
Counts = npt.NDArray[np.int64]
Sums = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrays:
    """The values of one array field.

    dtype: as stored. shapes: one for all rows, or one a row. data: the elements end to end, as
    bytes.
    """

    rows: int
    dtype: str
    shapes: tuple[Shape, ...]
    data: Bytes

    @property
    def uniform(self) -> bool:
        """Whether one shape stands for all rows."""
        return len(self.shapes) == 1

    def sizes(self) -> Counts:
        """The bytes of each row, int64 (rows,)."""
        itemsize = np.dtype(self.dtype).itemsize
        sizes = [itemsize * math.prod(shape) for shape in self.shapes]
        return np.full(self.rows, sizes[0]) if self.uniform else np.array(sizes, np.int64)

    def shape(self, row: int) -> Shape:
        """The shape of one row."""
        return self.shapes[0 if self.uniform else row]

    def slice(self, start: int, stop: int) -> Arrays:
        """Some of the rows; shares the memory."""
        shapes = self.shapes if self.uniform else _folded(self.shapes[start:stop])
        data = self.data[self._end(start) : self._end(stop)]
        return Arrays(rows=stop - start, dtype=self.dtype, shapes=shapes, data=data)

    def _end(self, rows: int) -> int:
        """The bytes of so many first rows."""
        items = sum(map(math.prod, self.shapes[:rows]))
        return (items * rows if self.uniform else items) * np.dtype(self.dtype).itemsize

    @staticmethod
    def of(rows: int, dtype: str, shapes: Sequence[Shape], data: Bytes) -> Arrays:
        """From one shape a row; folds them into one where they agree."""
        return Arrays(rows=rows, dtype=dtype, shapes=_folded(shapes), data=data)


def _folded(shapes: Sequence[Shape]) -> tuple[Shape, ...]:
    first = shapes[0]
    return (first,) if shapes.count(first) == len(shapes) else tuple(shapes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """Whole files that are parts of blobs, in order; one entry a file in each.

    rows: whose blob. starts: from which byte of it on. sizes, mtimes: of the files, in bytes and
    nanoseconds, when they were seen.
    """

    rows: Counts
    starts: Counts
    sizes: Counts
    mtimes: Counts
    paths: tuple[str, ...]

    @staticmethod
    def of(spans: Sequence[tuple[int, int, Source]]) -> Files:
        """From the row, the start and the file of each."""
        sources = [source for _, _, source in spans]
        return Files(
            rows=np.array([row for row, _, _ in spans], np.int64),
            starts=np.array([start for _, start, _ in spans], np.int64),
            sizes=np.array([source.size for source in sources], np.int64),
            mtimes=np.array([source.mtime_ns for source in sources], np.int64),
            paths=tuple(source.path for source in sources),
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[tuple[int, int, Source]]:
        """The row, the start and the file of each."""
        sources = map(Source, self.paths, self.sizes.tolist(), self.mtimes.tolist())
        return zip(self.rows.tolist(), self.starts.tolist(), sources, strict=True)

    def slice(self, start: int, stop: int) -> Files:
        """Those of some of the rows."""
        some = slice(*np.searchsorted(self.rows, (start, stop)).tolist())
        return Files(
            rows=self.rows[some] - start,
            starts=self.starts[some],
            sizes=self.sizes[some],
            mtimes=self.mtimes[some],
            paths=self.paths[some],
        )


NO_FILES = Files.of([])


@dataclass(frozen=True, slots=True, kw_only=True)
class Blobs:
    """One blob a row.

    sizes: int64 (rows,). sums: the xxh3 of each, uint64. data: the blobs end to end, without what
    still lies in files. files: these, in order; while there are any, the sums are not known.
    """

    sizes: Counts
    sums: Sums
    data: Bytes
    files: Files = NO_FILES

    def held(self) -> Counts:
        """How much of each blob lies in `data`."""
        held = self.sizes.copy()
        np.subtract.at(held, self.files.rows, self.files.sizes)
        return held

    def slice(self, start: int, stop: int) -> Blobs:
        """Some of the rows; shares the memory."""
        held = self.held() if self.files else self.sizes
        before = int(held[:start].sum())
        length = int(held[start:stop].sum())
        return Blobs(
            sizes=self.sizes[start:stop],
            sums=self.sums[start:stop],
            data=self.data[before : before + length],
            files=self.files.slice(start, stop) if self.files else NO_FILES,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Some consecutive rows.

    arrays, tokens: by field number. blobs: None if there is no other field.
    """

    schema: Schema
    rows: int
    arrays: dict[int, Arrays]
    blobs: Blobs | None
    tokens: dict[int, Tokens] = field(default_factory=dict)

    def slice(self, start: int, stop: int) -> Part:
        """Some of the rows; shares the memory."""
        if (start, stop) == (0, self.rows):
            return self
        return Part(
            schema=self.schema,
            rows=stop - start,
            arrays={field: values.slice(start, stop) for field, values in self.arrays.items()},
            blobs=None if self.blobs is None else self.blobs.slice(start, stop),
            tokens={field: values.slice(start, stop) for field, values in self.tokens.items()},
        )
