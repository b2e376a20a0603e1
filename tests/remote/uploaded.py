"""A dataset made locally, put on servers, and the requests that readers of it made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from servers.tally import Tally

import millstream as ms
from millstream.reading.dataset import stream_of
from millstream.store import open_store

COUNT = 600
CHUNKS = 20
IMAGE_BYTES = 6_000
# A stall is noticed, and an attempt given up, soon enough for a test.
QUICK = {"stall_seconds": 1.0}


def sample(number: int) -> dict[str, Any]:
    """An image that no one else has, and its label."""
    noise = np.random.default_rng([7, number]).bytes(IMAGE_BYTES + number)
    return {"image": noise, "label": number, "vector": np.full(4, number, "<f4")}


def make(folder: Path, count: int = COUNT, chunks: int = CHUNKS) -> None:
    ms.optimize(
        sample, range(count), folder, chunk_size=count // chunks, num_workers=0, verbose=False
    )


def upload(folder: Path, url: str, options: Mapping[str, object]) -> None:
    store = open_store(url, options)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        store.put_file(path.relative_to(folder).as_posix(), path)


def check(batches: Any) -> list[int]:
    """The labels in their order; every image is the one that belongs to its label."""
    labels = []
    for batch in batches:
        for number, image in zip(batch["label"].tolist(), batch["image"], strict=True):
            assert image == sample(number)["image"]
            labels.append(number)
    return labels


def chunk_requests(tally: Tally) -> list[Any]:
    return [request for request in tally.log if "/chunks/" in request.key]


def nbytes(dataset: ms.StreamingDataset) -> int:
    """The bytes of all chunks."""
    return stream_of(dataset).source.manifest.nbytes
