"""LitData. Where pyarrow can be imported it writes images in another layout: two peers."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ["LITDATA_DISABLE_VERSION_CHECK"] = "1"

import litdata as ld
import litdata.streaming.downloader
import numpy as np
import torch

from data import BLOCK, CHUNK_BYTES, Photo, documents, small
from peers.augment import augment
from trials.bucket import Bucket

# Its S3 client refuses plain http otherwise, and has no option for it.
litdata.streaming.downloader._OBSTORE_CLIENT_OPTIONS["allow_http"] = True
TOKEN_BLOCKS_A_CHUNK = 16_000
CHUNKS_A_FOLDER = 50_000


def read_photo(photo: tuple[str, int]) -> dict[str, Any]:
    path, label = photo
    return {"image": Path(path).read_bytes(), "label": label}


def read_document(part: tuple[str, int, int]) -> torch.Tensor:
    path, start, stop = part
    return torch.from_numpy(np.fromfile(path, np.uint16, stop - start, offset=2 * start))


def plain_bytes(sample: dict[str, Any]) -> dict[str, Any]:
    """Without pyarrow it gives memoryviews, which torch's default_collate cannot take."""
    return {"image": bytes(sample["image"]), "label": sample["label"]}


def decoded(sample: dict[str, Any]) -> dict[str, Any]:
    return {"image": torch.from_numpy(augment(sample["image"])), "label": sample["label"]}


class Driver:
    """See peers/__init__.py."""

    def write_images(self, photos: list[Photo], place: Path, workers: int) -> None:
        ld.optimize(
            read_photo, [(photo.path, photo.label) for photo in photos], str(place),
            num_workers=workers, chunk_bytes=CHUNK_BYTES, verbose=False,
        )  # fmt: skip

    def write_tokens(self, file: Path, count: int, place: Path, workers: int) -> None:
        ld.optimize(
            read_document, [(str(file), *part) for part in documents(count)], str(place),
            num_workers=workers, chunk_size=BLOCK * TOKEN_BLOCKS_A_CHUNK,
            item_loader=ld.TokensLoader(block_size=BLOCK), verbose=False,
        )  # fmt: skip

    def write_small(self, count: int, place: Path, workers: int, chunk_bytes: int) -> None:
        ld.optimize(
            small, list(range(count)), str(place),
            num_workers=workers, chunk_bytes=chunk_bytes, verbose=False,
        )  # fmt: skip

    def images(self, place: Path, batch: int, workers: int) -> Any:
        return self._loader(_dataset(place, transform=plain_bytes), batch, workers)

    def pixels(self, place: Path, batch: int, workers: int) -> Any:
        return self._loader(_dataset(place, transform=decoded), batch, workers)

    def tokens(self, place: Path, block: int, batch: int, workers: int) -> Any:
        dataset = _dataset(place, item_loader=ld.TokensLoader(block_size=block))
        return self._loader(dataset, batch, workers)

    def small(self, place: Path, batch: int, workers: int) -> Any:
        return self._loader(_dataset(place), batch, workers)

    def _loader(self, dataset: Any, batch: int, workers: int) -> Any:
        return ld.StreamingDataLoader(
            dataset, batch_size=batch, num_workers=workers, persistent_workers=workers > 0
        )

    def image_rows(self, place: Path) -> Any:
        return ld.StreamingDataset(str(place))

    def small_rows(self, place: Path) -> Any:
        return ld.StreamingDataset(str(place))

    def remote_images(
        self, bucket: Bucket, place: str, cache: Path, batch: int, workers: int
    ) -> Any:
        return self._loader(self.remote_rows(bucket, place, cache, shuffle=True), batch, workers)

    def remote_rows(self, bucket: Bucket, place: str, cache: Path, shuffle: bool = False) -> Any:
        return ld.StreamingDataset(
            bucket.url(place), cache_dir=str(cache), shuffle=shuffle, drop_last=False,
            transform=plain_bytes, storage_options=bucket.options(),
        )  # fmt: skip

    def make_index(self, images: Path, place: Path, chunks: int) -> None:
        index = json.loads((images / "index.json").read_text())
        one = index["chunks"][0]
        index["chunks"] = [
            {**one, "filename": f"chunk-{n // CHUNKS_A_FOLDER}-{n % CHUNKS_A_FOLDER}.bin"}
            for n in range(chunks)
        ]
        place.mkdir(parents=True)
        (place / "index.json").write_text(json.dumps(index))

    def open_index(self, place: Path) -> Any:
        return ld.StreamingDataset(str(place))

    def resumable(self, place: Path, batch: int, workers: int) -> Any:
        return ld.StreamingDataLoader(_dataset(place), batch_size=batch, num_workers=workers)

    def state(self, loader: Any, iterator: Iterator[Any]) -> Any:
        return loader.state_dict()

    def resume(self, loader: Any, state: Any) -> Any:
        loader.load_state_dict(state)
        return loader


def _dataset(place: Path, **arguments: Any) -> Any:
    return ld.StreamingDataset(str(place), shuffle=True, drop_last=False, **arguments)
