"""Samples that have numbers: as a sequence, or as a stream in order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from millstream.plan import AnyEpoch, generator, generator_for_row
from millstream.reading.arguments import as_indices
from millstream.reading.reader import Rows
from millstream.reading.stream import Stream
from millstream.reading.streamed import Samples, Streamed
from millstream.reading.transforms import MakeRng, Transforms

if TYPE_CHECKING:
    from millstream.reading.as_inputs import Numbered


class Indexed(Streamed):
    """A dataset over the rows of one stream, each of which is a sample."""

    _stream: Stream
    _transforms: Transforms

    # As a sequence --------------------------------------------------------------------------

    def __len__(self) -> int:
        """The number of samples, over all ranks."""
        return self._stream.length

    def __getitem__(self, index: Any) -> Any:
        """A sample for an integer, a list of samples for a slice or a list of integers.

        Args:
            index: Integers count from 0, or from the end if they are negative.

        Raises:
            RowOutOfRange: There is no such sample.
        """
        if isinstance(index, slice):
            return self._several(np.arange(*index.indices(len(self)), dtype=np.int64))
        if isinstance(index, int | np.integer) and not isinstance(index, bool):
            row = self._stream.row_at(int(index))
            sample = self._stream.sample(row)
            return self._transforms(sample, self._row_rng(row)) if self._transforms else sample
        return self._several(as_indices(index))

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Many samples at once, as torch's fetchers ask for them."""
        return self._several(as_indices(indices))

    def _several(self, indices: Rows) -> list[Any]:
        if self._is_overridden():
            return [self[index] for index in indices.tolist()]
        rows = self._stream.rows_at(indices)
        samples = self._stream.pick(rows).samples()
        return [
            self._transforms(sample, self._row_rng(row))
            for row, sample in zip(rows.tolist(), samples, strict=True)
        ]

    def _is_overridden(self) -> bool:
        return type(self).__getitem__ is not Indexed.__getitem__

    def _row_rng(self, row: int) -> MakeRng:
        return lambda: generator_for_row(self.seed, row)

    # As a stream ----------------------------------------------------------------------------

    @property
    def _feed(self) -> Stream:
        return self._stream

    @property
    def _is_plain(self) -> bool:
        return not self._transforms and not self._is_overridden()

    def _samples_at(self, epoch: AnyEpoch, positions: Rows, rows: Rows) -> Samples:
        if self._is_overridden():
            return Samples((self[index] for index in self._stream.indices_of(rows)), rows, 0.0)
        read = self._stream.read(epoch, rows, lambda: positions)
        pairs = zip(positions.tolist(), read.samples(), strict=True)
        apply, rng = self._transforms, self._position_rng
        samples = (apply(sample, rng(epoch.number, position)) for position, sample in pairs)
        return Samples(samples, read.taken, read.waited)

    def _position_rng(self, epoch: int, position: int) -> MakeRng:
        return lambda: generator(self.seed, epoch, position)

    def __inputs__(self) -> Numbered:
        """What `map` and `optimize` take this for: its samples."""
        from millstream.reading.as_inputs import samples_as_inputs

        return samples_as_inputs(self)
