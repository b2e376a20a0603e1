"""Which files are a sample: each by itself, or as groups that the user makes of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
from blake3 import blake3

from millstream.errors import UsageError
from millstream.reading.raw.files import Files
from millstream.reading.reader import Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class FileMetadata:
    """A file that was found.

    Args:
        path: Its path or URL.
        size: Its bytes.
    """

    path: str
    size: int


# One file a sample, or a list of them.
Grouped = Sequence[FileMetadata] | Sequence[Sequence[FileMetadata]]
Setup = Callable[[list[FileMetadata]], Grouped]


@dataclass(frozen=True, kw_only=True, eq=False)
class Items:
    """The files of all samples, one sample after another.

    ends: where those of each sample end; None: each file is a sample, and not a group of one.
    """

    files: Files
    ends: Rows | None = None

    def __len__(self) -> int:
        return len(self.files if self.ends is None else self.ends)

    @cached_property
    def width(self) -> int | None:
        """The files of each sample, if they are as many for all."""
        if self.ends is None:
            return 1
        counts = np.diff(self.ends, prepend=0)
        return int(counts[0]) if (counts == counts[0]).all() else None

    def files_of(self, rows: Rows) -> tuple[Rows, list[int]]:
        """The numbers of the files of samples, one after another, and how many each has."""
        if self.ends is None:
            return rows, [1] * len(rows)
        stops = self.ends[rows]
        starts = np.where(rows > 0, self.ends[rows - 1], 0)
        counts = stops - starts
        within = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
        return np.repeat(starts, counts) + within, counts.tolist()

    def named(self, place: str) -> str:
        """Names these files in this order, at a place, as `plan/version.py` says."""
        return f"{self._digest}@{_short(place.encode())}:{self._writing} {self._words}"

    @cached_property
    def _digest(self) -> str:
        """Of paths and sizes, and of which files are a sample."""
        found = blake3(bytes.fromhex(self._names))
        for column in (self.files.sizes, *([] if self.ends is None else [self.ends])):
            found.update(column.astype("<u8").tobytes())
        return found.hexdigest(8)

    @cached_property
    def _names(self) -> str:
        names = blake3(self.files.ends.astype("<i8").tobytes())
        names.update(self.files.keys.tobytes())
        return names.hexdigest()

    @cached_property
    def _writing(self) -> str:
        """Of what the place says of when each file was written."""
        return _short(self.files.tags.astype("<u8").tobytes())

    @property
    def _words(self) -> str:
        return (
            f"({len(self):,} samples, {len(self.files):,} files, {self.files.nbytes:,} bytes, "
            f"names {self._names[:8]})"
        )


def _short(content: bytes) -> str:
    return blake3(content).hexdigest(4)


def items_of(place: str, files: Files, setup: Setup | None) -> Items:
    """The samples that `setup` makes of the files of a place, which it is given sorted by path.

    Without it every file is one. Raises UsageError for what it must not return.
    """
    if setup is None:
        return Items(files=files)
    top = place.rstrip("/")
    everything = np.arange(len(files))
    paths = [f"{top}/{name}" for name in files.names(everything)]
    pairs = zip(paths, files.sizes.tolist(), strict=True)
    made = list(setup([FileMetadata(path=path, size=size) for path, size in pairs]))
    numbers = dict(zip(paths, everything.tolist(), strict=True))
    if not made:
        raise UsageError(f"setup() left none of the {len(files):,} files of {place}")
    are_groups = not isinstance(made[0], FileMetadata)
    groups = [_group(number, item, numbers, are_groups) for number, item in enumerate(made)]
    counts = np.array([len(group) for group in groups], np.int64)
    chosen = np.fromiter(chain.from_iterable(groups), np.int64, int(counts.sum()))
    return Items(files=files.take(chosen), ends=np.cumsum(counts) if are_groups else None)


def _group(number: int, item: Any, numbers: dict[str, int], are_groups: bool) -> list[int]:
    """The numbers of the files of a sample."""
    is_group = isinstance(item, list | tuple)
    if is_group != are_groups or not (is_group or isinstance(item, FileMetadata)):
        raise UsageError(
            f"setup() returned a {type(item).__name__} as item {number}; it returns files, or "
            "lists of files, the same for all"
        )
    group = list(item) if is_group else [item]
    if not group:
        raise UsageError(f"setup() returned an empty list as item {number}")
    found = []
    for file in group:
        path = file.path if isinstance(file, FileMetadata) else file
        if not isinstance(file, FileMetadata) or path not in numbers:
            raise UsageError(
                f"setup() returned {path!r:.200} in item {number}, which is none of the files that "
                "it was given"
            )
        found.append(numbers[path])
    return found
