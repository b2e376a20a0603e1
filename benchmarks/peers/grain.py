"""Grain, over ArrayRecord files. Its samples are bytes: the drivers pack and unpack them."""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import grain
import numpy as np
from absl import flags
from array_record.python.array_record_module import ArrayRecordWriter

from data import BLOCK, CHUNK_BYTES, Photo, small
from peers.augment import augment
from peers.sharing import WritesShares

LABEL = struct.Struct("<i")
SMALL = struct.Struct("<qd")
WRITER = "group_size:1,uncompressed"


def write(place: Path, writer: int, records: Iterable[bytes], nbytes: int) -> None:
    """Files of so many bytes."""
    file, count, size = None, 0, 0
    for record in records:
        if file is None:
            file = ArrayRecordWriter(f"{place}/{writer}-{count:05d}.array_record", WRITER)
            count, size = count + 1, 0
        file.write(record)
        size += len(record)
        if size >= nbytes:
            file.close()
            file = None
    if file is not None:
        file.close()


def write_photos(photos: list[Photo], place: Path, writer: int) -> None:
    records = (LABEL.pack(p.label) + Path(p.path).read_bytes() for p in photos)
    write(place, writer, records, CHUNK_BYTES)


def write_blocks(file: Path, start: int, stop: int, place: Path, writer: int) -> None:
    tokens = np.memmap(file, np.uint16, "r")
    records = (tokens[n * BLOCK : (n + 1) * BLOCK].tobytes() for n in range(start, stop))
    write(place, writer, records, CHUNK_BYTES)


def write_range(start: int, stop: int, place: Path, writer: int, nbytes: int) -> None:
    records = (
        SMALL.pack(sample["id"], sample["x"]) + sample["v"].tobytes()
        for sample in map(small, range(start, stop))
    )
    write(place, writer, records, nbytes)


def as_it_is(record: bytes) -> dict[str, Any]:
    return {"image": record[LABEL.size :], "label": np.int32(LABEL.unpack_from(record)[0])}


def decoded(record: bytes) -> dict[str, Any]:
    return {"image": augment(record[LABEL.size :]), "label": np.int32(LABEL.unpack_from(record)[0])}


def block_of(record: bytes) -> Any:
    return np.frombuffer(record, np.uint16)


def small_of(record: bytes) -> dict[str, Any]:
    number, x = SMALL.unpack_from(record)
    return {
        "id": np.int64(number),
        "x": np.float64(x),
        "v": np.frombuffer(record, np.float32, 16, SMALL.size),
    }


def listed(samples: list[dict[str, Any]]) -> dict[str, Any]:
    """Its own batching makes an array of objects of bytes, slowly."""
    return {
        "image": [sample["image"] for sample in samples],
        "label": np.array([sample["label"] for sample in samples]),
    }


class Driver(WritesShares):
    """See peers/__init__.py. Data in buckets needs other libraries."""

    def __init__(self) -> None:
        flags.FLAGS(sys.argv[:1])  # it asks for flags of absl when it starts workers

    write_photos = staticmethod(write_photos)
    write_blocks = staticmethod(write_blocks)
    write_range = staticmethod(write_range)

    def images(self, place: Path, batch: int, workers: int) -> Any:
        return _loader(place, as_it_is, batch, workers, listed)

    def pixels(self, place: Path, batch: int, workers: int) -> Any:
        return _loader(place, decoded, batch, workers)

    def tokens(self, place: Path, block: int, batch: int, workers: int) -> Any:
        return _loader(place, block_of, batch, workers)

    def small(self, place: Path, batch: int, workers: int) -> Any:
        return _loader(place, small_of, batch, workers)

    def image_rows(self, place: Path) -> Any:
        return grain.MapDataset.source(_source(place)).map(as_it_is)

    def small_rows(self, place: Path) -> Any:
        return grain.MapDataset.source(_source(place)).map(small_of)

    def resumable(self, place: Path, batch: int, workers: int) -> Any:
        return self.small(place, batch, workers)

    def state(self, loader: Any, iterator: Iterator[Any]) -> Any:
        return iterator.get_state()

    def resume(self, loader: Any, state: Any) -> Any:
        iterator = iter(loader)
        iterator.set_state(state)
        return iterator


def _source(place: Path) -> Any:
    return grain.sources.ArrayRecordDataSource(sorted(map(str, place.glob("*.array_record"))))


def _loader(
    place: Path,
    convert: Callable[[bytes], Any],
    batch: int,
    workers: int,
    batch_fn: Callable[..., Any] | None = None,
) -> Any:
    dataset = grain.MapDataset.source(_source(place)).shuffle(seed=1).map(convert)
    dataset = dataset.batch(batch, batch_fn=batch_fn) if batch_fn else dataset.batch(batch)
    if not workers:
        return dataset.to_iter_dataset(grain.ReadOptions(num_threads=16, prefetch_buffer_size=64))
    stream = dataset.to_iter_dataset(grain.ReadOptions(num_threads=4, prefetch_buffer_size=500))
    options = grain.multiprocessing.MultiprocessingOptions(
        num_workers=workers, per_worker_buffer_size=2
    )
    return stream.mp_prefetch(options)
