"""The same few batches over and over: how fast a trainer is when its data costs nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from millstream.torch.engine import EpochIterator


class Replay(Iterator[Any]):
    """As many batches as an epoch has, of which only the first `kept` are made."""

    def __init__(self, batches: EpochIterator, kept: int) -> None:
        self._batches, self._count = batches, batches.steps
        self._kept = min(kept, self._count)
        self._seen: list[Any] = []
        self._given = 0

    def __next__(self) -> Any:
        if self._given == self._count:
            raise StopIteration
        if len(self._seen) < self._kept:
            self._seen.append(next(self._batches))
            if len(self._seen) == self._kept:
                self._batches.supersede()
        self._given += 1
        return self._seen[(self._given - 1) % self._kept]

    def supersede(self) -> None:
        """A newer iterator takes over."""
        self._batches.supersede()
        self._given = self._count
