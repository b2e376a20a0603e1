"""Rows that were read in parts, from several datasets or epochs, as one batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from millstream.reading.feed import Read
from millstream.reading.output import Apart, Payloads, Room
from millstream.reading.reader import Array, Rows


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Some of the rows of a batch.

    here: where in it they are. taken: their numbers, as the batch has them; -1 where nothing was
    read.
    """

    read: Read
    here: Rows
    taken: Rows


class Together:
    """Parts of one batch, not yet decoded. If there are several, their samples are alike."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = parts
        self.source = parts[0].read.source
        self.waited = sum(part.read.waited for part in parts)
        self.taken = np.empty(sum(len(part.here) for part in parts), np.int64)
        for part in parts:
            self.taken[part.here] = part.taken

    def columns(self, output: Room) -> list[Any]:
        """The fields: an array (rows, *shape) where all parts have one such, else a list."""
        if len(self._parts) == 1:
            return self._parts[0].read.columns(output)
        columns = [part.read.columns(Apart()) for part in self._parts]
        return [self._joined(of_field, output) for of_field in zip(*columns, strict=True)]

    def _joined(self, columns: Sequence[Array | list[Any]], output: Room) -> Any:
        arrays = [column for column in columns if isinstance(column, np.ndarray)]
        alike = {(array.dtype, array.shape[1:]) for array in arrays}
        if len(arrays) == len(columns) and len(alike) == 1:
            joined = output.empty((len(self.taken), *arrays[0].shape[1:]), arrays[0].dtype)
            for part, array in zip(self._parts, arrays, strict=True):
                joined[part.here] = array
            return joined
        if all(isinstance(column, Payloads) for column in columns):
            return output.blobs(self._listed(columns))
        return self._listed(
            [list(map(bytes, c)) if isinstance(c, Payloads) else c for c in columns]
        )

    def _listed(self, columns: Sequence[Array | list[Any]]) -> list[Any]:
        listed: list[Any] = [None] * len(self.taken)
        for part, column in zip(self._parts, columns, strict=True):
            for place, value in zip(part.here.tolist(), column, strict=True):
                listed[place] = value
        return listed
