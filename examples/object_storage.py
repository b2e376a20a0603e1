"""The main job through a real S3 server on this machine, with authentication (SeaweedFS).

The photographs become a dataset in a bucket, which is streamed cold, warm, and beside that read by
bare requests. The server, its data and the cache are gone at the end.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import millstream as ms
from millstream.store import Store, open_store

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from servers.seaweedfs import SeaweedFS

URL = "s3://millstream/photos"
RANGE_BYTES = 8 << 20
AT_ONCE = (4, 8, 16)


def object_storage(read_photo: Callable[[Path], Any], photos: list[Path], workers: int) -> None:
    """Writes to the bucket, reads it in three ways, and prints the rates."""
    with TemporaryDirectory(prefix="demo-s3-") as name:
        folder = Path(name)
        (folder / "server").mkdir()
        with SeaweedFS(folder / "server") as server:
            options = server.options()
            began = time.perf_counter()
            report = ms.optimize(
                read_photo, photos, URL, chunk_bytes="8MB", num_workers=workers, verbose=False,
                storage_options=options,
            )  # fmt: skip
            seconds = time.perf_counter() - began
            print(
                f"bucket    {report.samples:,} photos written straight to {URL} on a local S3 "
                f"server: {report.samples / seconds:,.0f} photos/s"
            )
            bare = max(_bare(open_store(URL, options), at_once) for at_once in AT_ONCE)
            cold, warm = _epochs(options, folder / "cache", report.samples)
    rate = report.bytes / 1e6
    print(
        f"stream    from there: cold {rate / cold:,.0f} MB/s, warm {rate / warm:,.0f} MB/s, one "
        f"process; bare GETs of the same objects {bare:,.0f} MB/s at best"
    )


def _epochs(options: dict[str, str], cache: Path, samples: int) -> Iterator[float]:
    """The seconds of an epoch over an empty cache, and of one over a full one."""
    dataset = ms.StreamingDataset(
        URL, storage_options=options, cache_dir=cache, shuffle=True, decode={"image": "bytes"}
    )
    loader = ms.StreamingDataLoader(dataset, batch_size=64, collate_fn=len)
    for _ in range(2):
        began = time.perf_counter()
        if sum(loader) != samples or not loader.coverage().exact:
            raise SystemExit(f"the stream is not the dataset: {loader.coverage()}")
        yield time.perf_counter() - began


def _bare(store: Store, at_once: int) -> float:
    """MB/s of requests for all chunks, so many at once, with nothing done to what they give."""
    chunks = list(store.list("chunks/"))
    spans = [
        (chunk.key, (start, min(start + RANGE_BYTES, chunk.size)))
        for chunk in chunks
        for start in range(0, chunk.size, RANGE_BYTES)
    ]
    began = time.perf_counter()
    with ThreadPoolExecutor(at_once) as threads:
        got = sum(len(piece) for piece in threads.map(lambda span: store.get(*span), spans))
    return got / 1e6 / (time.perf_counter() - began)
