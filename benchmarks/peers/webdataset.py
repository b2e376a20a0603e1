"""WebDataset. Its shuffle is a buffer over shards in random order, not one over all samples."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
import webdataset as wds
from torch.utils.data import default_collate

from data import BLOCK, CHUNK_BYTES, Photo, small
from peers.augment import augment
from peers.sharing import WritesShares
from trials.bucket import Bucket

BUFFER = 1000
SHARDS = 1000  # more than there are: all of them are shuffled


def write(place: Path, writer: int, samples: Iterable[dict[str, Any]], nbytes: int) -> None:
    pattern = f"{place}/{writer}-%06d.tar"
    with wds.ShardWriter(pattern, maxsize=nbytes, maxcount=10**9, verbose=0) as shards:
        for sample in samples:
            shards.write(sample)


def write_photos(photos: list[Photo], place: Path, writer: int) -> None:
    samples = (
        {"__key__": f"{p.label:08d}", "jpg": Path(p.path).read_bytes(), "cls": p.label}
        for p in photos
    )
    write(place, writer, samples, CHUNK_BYTES)


def write_blocks(file: Path, start: int, stop: int, place: Path, writer: int) -> None:
    tokens = np.memmap(file, np.uint16, "r")
    samples = (
        {"__key__": f"{n:08d}", "bin": tokens[n * BLOCK : (n + 1) * BLOCK].tobytes()}
        for n in range(start, stop)
    )
    write(place, writer, samples, CHUNK_BYTES)


def write_range(start: int, stop: int, place: Path, writer: int, nbytes: int) -> None:
    samples = ({"__key__": f"{n:08d}", "pyd": small(n)} for n in range(start, stop))
    write(place, writer, samples, nbytes)


def as_it_is(sample: dict[str, Any]) -> dict[str, Any]:
    return {"image": sample["jpg"], "label": int(sample["cls"])}


def decoded(sample: dict[str, Any]) -> dict[str, Any]:
    return {"image": torch.from_numpy(augment(sample["jpg"])), "label": int(sample["cls"])}


def block_of(sample: dict[str, Any]) -> torch.Tensor:
    return torch.from_numpy(np.frombuffer(sample["bin"], np.uint16).copy())


def small_of(sample: dict[str, Any]) -> Any:
    return sample["pyd"]


class Driver(WritesShares):
    """See peers/__init__.py. It has no indexing, no index and no resuming."""

    write_photos = staticmethod(write_photos)
    write_blocks = staticmethod(write_blocks)
    write_range = staticmethod(write_range)

    def images(self, place: Path, batch: int, workers: int) -> Any:
        return _loader(_tars(place), as_it_is, batch, workers)

    def pixels(self, place: Path, batch: int, workers: int) -> Any:
        return _loader(_tars(place), decoded, batch, workers)

    def tokens(self, place: Path, block: int, batch: int, workers: int) -> Any:
        return _loader(_tars(place), block_of, batch, workers)

    def small(self, place: Path, batch: int, workers: int) -> Any:
        return _loader(_tars(place), small_of, batch, workers, unpickle=True)

    def remote_images(
        self, bucket: Bucket, place: str, cache: Path, batch: int, workers: int
    ) -> Any:
        import obstore

        cache.mkdir(parents=True, exist_ok=True)
        store: Any = bucket.obstore(place)
        names = sorted(one["path"] for page in obstore.list(store) for one in page)
        urls = obstore.sign(store, "GET", names, timedelta(hours=1))
        # It takes the local name from the end of the URL's path.
        return _loader(urls, as_it_is, batch, workers, cache_dir=str(cache))


def _tars(place: Path) -> list[str]:
    return sorted(map(str, place.glob("*.tar")))


def _loader(
    urls: list[str],
    convert: Callable[[dict[str, Any]], Any],
    batch: int,
    workers: int,
    unpickle: bool = False,
    **arguments: Any,
) -> Any:
    dataset = wds.WebDataset(urls, shardshuffle=SHARDS, seed=1, **arguments).shuffle(BUFFER)
    if unpickle:
        dataset = dataset.decode()
    dataset = dataset.map(convert).batched(batch, collation_fn=default_collate)
    return wds.WebLoader(
        dataset, batch_size=None, num_workers=workers, persistent_workers=workers > 0
    )
