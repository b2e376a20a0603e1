"""Writers for libraries that have none for several processes: each writes a share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from data import BLOCK, Photo, shares
from peers import in_processes


class WritesShares(ABC):
    """How one process writes its share, the number-th. Each method runs in a process of its own."""

    @staticmethod
    @abstractmethod
    def write_photos(photos: Sequence[Photo], place: Path, number: int) -> None: ...

    @staticmethod
    @abstractmethod
    def write_blocks(file: Path, start: int, stop: int, place: Path, number: int) -> None: ...

    @staticmethod
    @abstractmethod
    def write_range(start: int, stop: int, place: Path, number: int, chunk_bytes: int) -> None: ...

    def write_images(self, photos: list[Photo], place: Path, workers: int) -> None:
        place.mkdir(parents=True)
        parts = [photos[start:stop] for start, stop in shares(len(photos), workers)]
        in_processes(self.write_photos, [(part, place, n) for n, part in enumerate(parts)])

    def write_tokens(self, file: Path, count: int, place: Path, workers: int) -> None:
        place.mkdir(parents=True)
        parts = shares(count // BLOCK, workers)
        in_processes(self.write_blocks, [(file, *part, place, n) for n, part in enumerate(parts)])

    def write_small(self, count: int, place: Path, workers: int, chunk_bytes: int) -> None:
        place.mkdir(parents=True)
        parts = shares(count, workers)
        in_processes(
            self.write_range, [(*part, place, n, chunk_bytes) for n, part in enumerate(parts)]
        )
