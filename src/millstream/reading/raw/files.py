"""Many files in little memory: what a listing told of each, as arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from millstream.reading.reader import Rows
from millstream.store import ObjectInfo

# Names of local files that are no UTF-8 come back as they were.
_ERRORS = "surrogateescape"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Files:
    """Files in an order, 24 bytes each and their keys.

    keys: UTF-8, end to end; ends: where each ends. tags: as in ObjectInfo, 0 for none.
    """

    keys: npt.NDArray[np.uint8]
    ends: Rows
    sizes: Rows
    tags: npt.NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def nbytes(self) -> int:
        """The bytes of all files."""
        return int(self.sizes.sum())

    def listed(self, numbers: Rows) -> list[ObjectInfo]:
        """What was listed of files by their numbers."""
        return [
            ObjectInfo(key=key, size=size, modified=0.0, tag=f"{tag:016x}" if tag else "")
            for key, size, tag in zip(
                self.names(numbers),
                self.sizes[numbers].tolist(),
                self.tags[numbers].tolist(),
                strict=True,
            )
        ]

    def names(self, numbers: Rows) -> list[str]:
        """The keys of files by their numbers."""
        spans = zip(self._starts(numbers).tolist(), self.ends[numbers].tolist(), strict=True)
        keys = self.keys.data
        return [str(keys[start:end], "utf-8", _ERRORS) for start, end in spans]

    def take(self, numbers: Rows) -> Files:
        """These files, in this order."""
        starts = self._starts(numbers)
        lengths = self.ends[numbers] - starts
        ends = np.cumsum(lengths)
        # For each byte of the new keys, where it is among the old.
        shifts = np.repeat(starts - (ends - lengths), lengths)
        return Files(
            keys=self.keys[np.arange(len(shifts)) + shifts],
            ends=ends,
            sizes=self.sizes[numbers],
            tags=self.tags[numbers],
        )

    def _starts(self, numbers: Rows) -> Rows:
        return np.where(numbers > 0, self.ends[numbers - 1], 0)

    @staticmethod
    def of(found: Iterable[ObjectInfo]) -> Files:
        """Files that a store has listed, in that order."""
        listed = list(found)
        keys = [info.key.encode("utf-8", _ERRORS) for info in listed]
        return Files(
            keys=np.frombuffer(b"".join(keys), np.uint8),
            ends=np.cumsum([len(key) for key in keys], dtype=np.int64),
            sizes=np.array([info.size for info in listed], np.int64),
            tags=np.array([int(info.tag or "0", 16) for info in listed], np.uint64),
        )

    @staticmethod
    def joined(parts: Sequence[Files]) -> Files:
        """The files of several, one after another."""
        if not parts:
            return Files.of([])
        before = np.cumsum([0, *(len(part.keys) for part in parts)], dtype=np.int64)
        return Files(
            keys=np.concatenate([part.keys for part in parts]),
            ends=np.concatenate(
                [part.ends + start for part, start in zip(parts, before[:-1], strict=True)]
            ),
            sizes=np.concatenate([part.sizes for part in parts]),
            tags=np.concatenate([part.tags for part in parts]),
        )

    def part(self, start: int, stop: int) -> Files:
        """The files from a number up to another."""
        first = int(self.ends[start - 1]) if start else 0
        last = int(self.ends[stop - 1]) if stop else 0
        return Files(
            keys=self.keys[first:last],
            ends=self.ends[start:stop] - first,
            sizes=self.sizes[start:stop],
            tags=self.tags[start:stop],
        )
