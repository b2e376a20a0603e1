"""millstream, by its public names."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import millstream as ms
from data import BLOCK, CHUNK_BYTES, Photo, documents, small, small_columns
from peers import Skip
from peers.augment import SIZE, augment_sample
from trials.bucket import Bucket

ROWS_A_CALL = 10_000
TOKEN_BLOCKS_A_CHUNK = 8012


def read_photo(photo: tuple[str, int]) -> dict[str, Any]:
    path, label = photo
    return {"image": Path(path).read_bytes(), "label": label}


def read_document(part: tuple[str, int, int]) -> Any:
    path, start, stop = part
    return np.fromfile(path, np.uint16, stop - start, offset=2 * start)


def columns(part: tuple[int, int]) -> dict[str, Any]:
    return small_columns(*part)


def tokens_loader(*arguments: Any) -> Any:
    """TokensLoader, if this version has it."""
    if not hasattr(ms, "TokensLoader"):
        raise Skip("this version has no TokensLoader")
    return ms.TokensLoader(*arguments)


class Driver:
    """See peers/__init__.py."""

    def import_for(self, method: str) -> None:
        """Our names are loaded at first use, and only the loader brings torch."""
        names = ["optimize"] if method.startswith("write") else ["StreamingDataLoader"]
        for name in [*names, "StreamingDataset"]:
            getattr(ms, name)

    def write_images(self, photos: list[Photo], place: Path, workers: int) -> None:
        inputs = [(photo.path, photo.label) for photo in photos]
        ms.optimize(
            read_photo, inputs, place, chunk_bytes=CHUNK_BYTES, num_workers=workers, verbose=False
        )

    def write_tokens(self, file: Path, count: int, place: Path, workers: int) -> None:
        ms.optimize(
            read_document,
            [(str(file), *part) for part in documents(count)],
            place,
            chunk_size=BLOCK * TOKEN_BLOCKS_A_CHUNK,
            item_loader=tokens_loader(),
            num_workers=workers,
            verbose=False,
        )

    def write_small(self, count: int, place: Path, workers: int, chunk_bytes: int) -> None:
        ms.optimize(
            small, range(count), place, chunk_bytes=chunk_bytes, num_workers=workers, verbose=False
        )

    def write_small_columns(self, count: int, place: Path, workers: int) -> None:
        if "batched" not in inspect.signature(ms.optimize).parameters:
            raise Skip("this version has no batched=")
        inputs = [
            (start, min(start + ROWS_A_CALL, count)) for start in range(0, count, ROWS_A_CALL)
        ]
        ms.optimize(
            columns, inputs, place, batched=True, num_workers=workers, chunk_bytes=CHUNK_BYTES,
            verbose=False,
        )  # fmt: skip

    def images(self, place: Path, batch: int, workers: int) -> Any:
        return self.loader(ms.StreamingDataset(place, shuffle=True), batch, workers)

    def pixels(self, place: Path, batch: int, workers: int) -> Any:
        if hasattr(ms, "JpegDecode"):
            decode = ms.JpegDecode(size=SIZE, crop="random_resized", flip=True)
            dataset = ms.StreamingDataset(place, shuffle=True, decode={"image": decode})
        else:
            dataset = ms.StreamingDataset(place, shuffle=True, transform=augment_sample)
        return self.loader(dataset, batch, workers)

    def tokens(self, place: Path, block: int, batch: int, workers: int) -> Any:
        dataset = ms.StreamingDataset(place, shuffle=True, item_loader=tokens_loader(block))
        return self.loader(dataset, batch, workers)

    def small(self, place: Path, batch: int, workers: int) -> Any:
        return self.loader(ms.StreamingDataset(place, shuffle=True), batch, workers)

    def loader(self, dataset: Any, batch: int, workers: int) -> Any:
        return ms.StreamingDataLoader(
            dataset, batch_size=batch, num_workers=workers, persistent_workers=workers > 0
        )

    def image_rows(self, place: Path) -> Any:
        return ms.StreamingDataset(place)

    def small_rows(self, place: Path) -> Any:
        return ms.StreamingDataset(place)

    def remote_images(
        self, bucket: Bucket, place: str, cache: Path, batch: int, workers: int
    ) -> Any:
        return self.loader(self.remote_rows(bucket, place, cache, shuffle=True), batch, workers)

    def remote_rows(self, bucket: Bucket, place: str, cache: Path, shuffle: bool = False) -> Any:
        return ms.StreamingDataset(
            bucket.url(place), shuffle=shuffle, cache_dir=cache, storage_options=bucket.options()
        )

    def make_index(self, images: Path, place: Path, chunks: int) -> None:
        from millstream.format.manifest import ChunkTable, Manifest, read_manifest

        version = "versions/000000000001"
        one = read_manifest((images / version).read_bytes())
        table = ChunkTable(
            rows=np.resize(one.chunks.rows[:1], chunks),
            lead=np.resize(one.chunks.lead[:1], chunks),
            sizes=np.resize(one.chunks.sizes[:1], chunks),
            digests=np.random.default_rng(0).integers(0, 256, (chunks, 32), np.uint8),
        )
        (place / "versions").mkdir(parents=True)
        manifest = Manifest(version=1, schema=one.schema, chunks=table)
        (place / version).write_bytes(manifest.to_bytes())
        (place / "latest").write_text("1")

    def open_index(self, place: Path) -> Any:
        return ms.StreamingDataset(place)

    def resumable(self, place: Path, batch: int, workers: int) -> Any:
        return self.small(place, batch, workers)

    def state(self, loader: Any, iterator: Iterator[Any]) -> Any:
        return loader.state_dict()

    def resume(self, loader: Any, state: Any) -> Any:
        loader.load_state_dict(state)
        return loader
