"""Hugging Face datasets: Arrow files, mapped, in torch's own DataLoader."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import datasets as hf
import numpy as np
import torch
from torch.utils.data import DataLoader

from data import BLOCK, Photo, shares, small, small_columns
from peers.augment import augment

SHARD = "64MB"
ROWS_A_CALL = 10_000
hf.disable_progress_bars()
hf.disable_caching()


def photo_samples(photos: list[Photo]) -> Iterator[dict[str, Any]]:
    for photo in photos:
        yield {"image": Path(photo.path).read_bytes(), "label": photo.label}


def block_samples(file: Path, parts: list[tuple[int, int]]) -> Iterator[dict[str, Any]]:
    tokens = np.memmap(file, np.uint16, "r")
    for start, stop in parts:
        for n in range(start, stop):
            yield {"tokens": tokens[n * BLOCK : (n + 1) * BLOCK]}


def small_samples(parts: list[tuple[int, int]]) -> Iterator[dict[str, Any]]:
    for start, stop in parts:
        yield from map(small, range(start, stop))


def as_it_is(samples: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "image": [sample["image"] for sample in samples],
        "label": torch.tensor([sample["label"] for sample in samples]),
    }


def decoded(samples: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "image": torch.stack([torch.from_numpy(augment(sample["image"])) for sample in samples]),
        "label": torch.tensor([sample["label"] for sample in samples]),
    }


def blocks(samples: list[dict[str, Any]]) -> torch.Tensor:
    return torch.stack([sample["tokens"] for sample in samples])


IMAGES = hf.Features({"image": hf.Value("binary"), "label": hf.Value("int32")})
TOKENS = hf.Features({"tokens": hf.Sequence(hf.Value("uint16"), length=BLOCK)})
SMALL = hf.Features(
    {
        "id": hf.Value("int64"),
        "x": hf.Value("float64"),
        "v": hf.Sequence(hf.Value("float32"), length=16),
    }
)


class Driver:
    """See peers/__init__.py. Buckets need other libraries; torch's DataLoader does not resume."""

    def write_images(self, photos: list[Photo], place: Path, workers: int) -> None:
        _write(photo_samples, {"photos": photos}, IMAGES, place, workers)

    def write_tokens(self, file: Path, count: int, place: Path, workers: int) -> None:
        parts = list(shares(count // BLOCK, workers))
        _write(block_samples, {"file": file, "parts": parts}, TOKENS, place, workers)

    def write_small(self, count: int, place: Path, workers: int, chunk_bytes: int) -> None:
        _write(small_samples, {"parts": list(shares(count, workers))}, SMALL, place, workers)

    def write_small_columns(self, count: int, place: Path, workers: int) -> None:
        starts = range(0, count, ROWS_A_CALL)
        parts = (small_columns(start, min(start + ROWS_A_CALL, count)) for start in starts)
        tables = [
            hf.Dataset.from_dict({**part, "v": list(part["v"])}, features=SMALL) for part in parts
        ]
        hf.concatenate_datasets(tables).save_to_disk(str(place), max_shard_size=SHARD)

    def images(self, place: Path, batch: int, workers: int) -> Any:
        return _loader(hf.load_from_disk(str(place)), batch, workers, as_it_is)

    def pixels(self, place: Path, batch: int, workers: int) -> Any:
        return _loader(hf.load_from_disk(str(place)), batch, workers, decoded)

    def tokens(self, place: Path, block: int, batch: int, workers: int) -> Any:
        return _loader(hf.load_from_disk(str(place)).with_format("torch"), batch, workers, blocks)

    def small(self, place: Path, batch: int, workers: int) -> Any:
        return _loader(hf.load_from_disk(str(place)).with_format("torch"), batch, workers)

    def image_rows(self, place: Path) -> Any:
        return hf.load_from_disk(str(place))

    def small_rows(self, place: Path) -> Any:
        return hf.load_from_disk(str(place))


def _write(
    generator: Callable[..., Iterator[Any]],
    arguments: dict[str, Any],
    features: Any,
    place: Path,
    workers: int,
) -> None:
    """Through its cache, as it always goes, and from there to files that can be kept."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=place.parent) as cache:
        dataset = hf.Dataset.from_generator(
            generator, gen_kwargs=arguments, num_proc=workers, features=features, cache_dir=cache
        )
        dataset.save_to_disk(str(place), num_proc=workers, max_shard_size=SHARD)


def _loader(
    dataset: Any, batch: int, workers: int, collate: Callable[..., Any] | None = None
) -> Any:
    return DataLoader(
        dataset, batch, shuffle=True, num_workers=workers, collate_fn=collate,
        persistent_workers=workers > 0,
    )  # fmt: skip
