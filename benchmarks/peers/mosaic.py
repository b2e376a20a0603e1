"""MosaicML Streaming."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from streaming import MDSWriter, StreamingDataLoader, StreamingDataset
from streaming.base.util import clean_stale_shared_memory, merge_index

from data import BLOCK, CHUNK_BYTES, Photo, shares, small
from peers import in_processes
from peers.augment import augment
from trials.bucket import Bucket

Columns = dict[str, str]


def write(place: Path, columns: Columns, samples: Iterable[dict[str, Any]], nbytes: int) -> None:
    with MDSWriter(out=str(place), columns=columns, size_limit=nbytes) as writer:
        for sample in samples:
            writer.write(sample)


def write_photos(photos: list[Photo], place: Path) -> None:
    samples = ({"image": Path(p.path).read_bytes(), "label": p.label} for p in photos)
    write(place, {"image": "bytes", "label": "int"}, samples, CHUNK_BYTES)


def write_blocks(file: Path, start: int, stop: int, place: Path) -> None:
    tokens = np.memmap(file, np.uint16, "r")
    samples = ({"tokens": tokens[n * BLOCK : (n + 1) * BLOCK]} for n in range(start, stop))
    write(place, {"tokens": f"ndarray:uint16:{BLOCK}"}, samples, CHUNK_BYTES)


def write_range(start: int, stop: int, place: Path, nbytes: int) -> None:
    columns = {"id": "int", "x": "float64", "v": "ndarray:float32:16"}
    write(place, columns, map(small, range(start, stop)), nbytes)


class Images(StreamingDataset):
    """Decoded and cropped."""

    def __getitem__(self, at: Any) -> Any:
        sample = super().__getitem__(at)
        image = torch.from_numpy(augment(sample["image"]))
        return {"image": image, "label": sample["label"]}


class Tokens(StreamingDataset):
    """Its arrays are read-only, which torch does not want."""

    def __getitem__(self, at: Any) -> Any:
        return torch.from_numpy(super().__getitem__(at)["tokens"].copy())


class Small(StreamingDataset):
    """Its arrays are read-only, which torch does not want."""

    def __getitem__(self, at: Any) -> Any:
        sample = super().__getitem__(at)
        return {**sample, "v": sample["v"].copy()}


class Driver:
    """See peers/__init__.py."""

    def __init__(self) -> None:
        clean_stale_shared_memory()

    def write_images(self, photos: list[Photo], place: Path, workers: int) -> None:
        parts = [photos[start:stop] for start, stop in shares(len(photos), workers)]
        in_processes(write_photos, [(part, place / str(n)) for n, part in enumerate(parts)])
        merge_index(str(place), keep_local=True)

    def write_tokens(self, file: Path, count: int, place: Path, workers: int) -> None:
        parts = shares(count // BLOCK, workers)
        in_processes(write_blocks, [(file, *part, place / str(n)) for n, part in enumerate(parts)])
        merge_index(str(place), keep_local=True)

    def write_small(self, count: int, place: Path, workers: int, chunk_bytes: int) -> None:
        parts = shares(count, workers)
        in_processes(
            write_range, [(*part, place / str(n), chunk_bytes) for n, part in enumerate(parts)]
        )
        merge_index(str(place), keep_local=True)

    def images(self, place: Path, batch: int, workers: int) -> Any:
        return self._loader(StreamingDataset, place, batch, workers)

    def pixels(self, place: Path, batch: int, workers: int) -> Any:
        return self._loader(Images, place, batch, workers)

    def tokens(self, place: Path, block: int, batch: int, workers: int) -> Any:
        return self._loader(Tokens, place, batch, workers)

    def small(self, place: Path, batch: int, workers: int) -> Any:
        return self._loader(Small, place, batch, workers)

    def _loader(self, kind: Any, place: Path, batch: int, workers: int) -> Any:
        return StreamingDataLoader(
            kind(local=str(place), shuffle=True, batch_size=batch),
            batch_size=batch,
            num_workers=workers,
            persistent_workers=workers > 0,
        )

    def image_rows(self, place: Path) -> Any:
        return StreamingDataset(local=str(place), batch_size=1)

    def small_rows(self, place: Path) -> Any:
        return StreamingDataset(local=str(place), batch_size=1)

    def remote_images(
        self, bucket: Bucket, place: str, cache: Path, batch: int, workers: int
    ) -> Any:
        dataset = self.remote_rows(bucket, place, cache, shuffle=True, batch_size=batch)
        return StreamingDataLoader(
            dataset, batch_size=batch, num_workers=workers, persistent_workers=workers > 0
        )

    def remote_rows(self, bucket: Bucket, place: str, cache: Path, **arguments: Any) -> Any:
        bucket.set_environment()
        return StreamingDataset(
            remote=bucket.url(place), local=str(cache), **{"batch_size": 1, **arguments}
        )

    def make_index(self, images: Path, place: Path, chunks: int) -> None:
        index = json.loads((images / "index.json").read_text())
        one = index["shards"][0]
        index["shards"] = [
            {**one, "raw_data": {**one["raw_data"], "basename": f"{n % 2}/shard.{n:07d}.mds"}}
            for n in range(chunks)
        ]
        place.mkdir(parents=True)
        (place / "index.json").write_text(json.dumps(index))

    def open_index(self, place: Path) -> Any:
        return StreamingDataset(local=str(place), batch_size=1)

    def resumable(self, place: Path, batch: int, workers: int) -> Any:
        dataset = Small(local=str(place), shuffle=True, batch_size=batch)
        return StreamingDataLoader(dataset, batch_size=batch, num_workers=workers)

    def state(self, loader: Any, iterator: Iterator[Any]) -> Any:
        return loader.state_dict()

    def resume(self, loader: Any, state: Any) -> Any:
        loader.load_state_dict(state)
        return loader
