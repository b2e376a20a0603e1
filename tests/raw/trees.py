"""Trees of files, and what a dataset of them must hold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import millstream as ms

# Names whose order by bytes is not that of a walk: `a-b` < `a/c` < `a.d` < `a0`.
FOLDERS = ("a", "a-b", "a.d", "a0", "b/deep/er", "B")
COUNT = 240


def content(number: int) -> bytes:
    """Bytes that no other file has, of another length each."""
    return np.random.default_rng([5, number]).bytes(1_000 + 7 * number)


def make(root: Path, count: int = COUNT) -> dict[str, bytes]:
    """Files below a folder: their contents by key, in the order of the keys."""
    made = {}
    for number in range(count):
        key = f"{FOLDERS[number % len(FOLDERS)]}/{number:04}.bin"
        path = root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content(number))
        made[key] = content(number)
    return dict(sorted(made.items(), key=lambda pair: pair[0].encode()))


class Pairs(ms.StreamingRawDataset):
    """Each file with the one before it: the second with the first, the fourth with the third."""

    def setup(self, files: list[ms.FileMetadata]) -> Sequence[Sequence[ms.FileMetadata]]:
        return [[files[n], files[n - 1]] for n in range(1, len(files), 2)]


def flat(batches: Iterable[Any]) -> list[Any]:
    """The samples of all batches."""
    return [sample for batch in batches for sample in batch]
