"""Not a library: the least that can be done with files, numpy and torch's own DataLoader."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from data import CHUNK_BYTES, Photo, shares, small, small_columns
from peers import in_processes
from peers.augment import augment

SMALL = np.dtype([("id", "<i8"), ("x", "<f8"), ("v", "<f4", 16)])
ROWS_A_CALL = 10_000


def write_photos(photos: list[Photo], place: Path, writer: int) -> None:
    """File after file, end to end, and where each begins: read all, write once."""
    index, file, number, size = [], None, 0, 0
    for photo in photos:
        content = Path(photo.path).read_bytes()
        if file is None:
            file, size = (place / f"{writer}-{number:04d}.bin").open("wb"), 0
        index.append((writer, number, size, len(content), photo.label))
        file.write(content)
        size += len(content)
        if size >= CHUNK_BYTES:
            file.close()
            file, number = None, number + 1
    if file is not None:
        file.close()
    np.save(place / f"{writer}.npy", np.array(index))


class Images(Dataset[Any]):
    """A pread a sample."""

    def __init__(self, place: Path, decode: bool) -> None:
        self.place, self.decode = place, decode
        self.index = np.concatenate([np.load(path) for path in sorted(place.glob("*.npy"))])
        self.files: dict[tuple[int, int], int] = {}

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, at: int) -> dict[str, Any]:
        writer, number, start, size, label = self.index[at].tolist()
        file = self.files.get((writer, number))
        if file is None:
            file = os.open(self.place / f"{writer}-{number:04d}.bin", os.O_RDONLY)
            self.files[writer, number] = file
        content = os.pread(file, size, start)
        image = torch.from_numpy(augment(content)) if self.decode else content
        return {"image": image, "label": label}


class Tokens(Dataset[Any]):
    """A slice of the mapped file, copied."""

    def __init__(self, file: Path, block: int) -> None:
        self.tokens, self.block = np.memmap(file, np.uint16, "r"), block

    def __len__(self) -> int:
        return len(self.tokens) // self.block

    def __getitem__(self, at: int) -> torch.Tensor:
        return torch.from_numpy(self.tokens[at * self.block : (at + 1) * self.block].copy())


class Small(Dataset[Any]):
    """A record of the mapped file, made into a dict."""

    def __init__(self, file: Path) -> None:
        self.records = np.memmap(file, SMALL, "r")

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, at: int) -> dict[str, Any]:
        record = self.records[at]
        return {"id": int(record["id"]), "x": float(record["x"]), "v": record["v"].copy()}


class Driver:
    """See peers/__init__.py."""

    def write_images(self, photos: list[Photo], place: Path, workers: int) -> None:
        place.mkdir(parents=True)
        parts = [photos[start:stop] for start, stop in shares(len(photos), workers)]
        in_processes(write_photos, [(part, place, n) for n, part in enumerate(parts)])

    def write_tokens(self, file: Path, count: int, place: Path, workers: int) -> None:
        place.mkdir(parents=True)
        shutil.copyfile(file, place / "tokens.bin")

    def write_small(self, count: int, place: Path, workers: int, chunk_bytes: int) -> None:
        place.mkdir(parents=True)
        with (place / "small.bin").open("wb") as file:
            for start in range(0, count, ROWS_A_CALL):
                samples = [small(n) for n in range(start, min(start + ROWS_A_CALL, count))]
                records = [(sample["id"], sample["x"], sample["v"]) for sample in samples]
                file.write(np.array(records, SMALL).tobytes())

    def write_small_columns(self, count: int, place: Path, workers: int) -> None:
        place.mkdir(parents=True)
        with (place / "small.bin").open("wb") as file:
            for start in range(0, count, ROWS_A_CALL):
                columns = small_columns(start, min(start + ROWS_A_CALL, count))
                records = np.empty(len(columns["id"]), SMALL)
                for name, column in columns.items():
                    records[name] = column
                file.write(records.tobytes())

    def images(self, place: Path, batch: int, workers: int) -> Any:
        return _loader(Images(place, decode=False), batch, workers)

    def pixels(self, place: Path, batch: int, workers: int) -> Any:
        return _loader(Images(place, decode=True), batch, workers)

    def tokens(self, place: Path, block: int, batch: int, workers: int) -> Any:
        return _loader(Tokens(place / "tokens.bin", block), batch, workers)

    def small(self, place: Path, batch: int, workers: int) -> Any:
        return _loader(Small(place / "small.bin"), batch, workers)

    def image_rows(self, place: Path) -> Any:
        return Images(place, decode=False)

    def small_rows(self, place: Path) -> Any:
        return Small(place / "small.bin")


def _loader(dataset: Any, batch: int, workers: int) -> Any:
    return DataLoader(
        dataset, batch, shuffle=True, num_workers=workers, persistent_workers=workers > 0
    )
