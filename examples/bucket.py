"""The demo's dataset in a bucket: a real S3 server on this machine, with keys and secrets."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import millstream as ms
from millstream.store import open_store

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from servers.seaweedfs import SeaweedFS

URL = "s3://millstream/photos"
THREADS = 8

Options = dict[str, str]


@contextmanager
def bucket_with(folder: Path) -> Iterator[Options]:
    """Puts a dataset into a bucket of a server that lives as long as this; how to log in there."""
    with (
        tempfile.TemporaryDirectory(prefix="millstream-demo-") as place,
        SeaweedFS(Path(place)) as s3,
    ):
        with open_store(URL, s3.options()) as store:
            for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                store.put_file(path.relative_to(folder).as_posix(), path)
        yield s3.options()


def stream_from_bucket(folder: Path, cache: Path, batch_size: int) -> None:
    """An epoch from the bucket into an empty cache, one from the cache, and bare requests."""
    shutil.rmtree(cache, ignore_errors=True)
    with bucket_with(folder) as options:
        bare = bare_requests(options)
        dataset = ms.StreamingDataset(
            URL, storage_options=options, shuffle=True, decode={"image": "bytes"}, cache_dir=cache
        )
        loader = ms.StreamingDataLoader(dataset, batch_size=batch_size)
        cold, warm = epoch(loader), epoch(loader)
        stats = loader.stats()
        print(
            f"bucket    {URL}, by its keys: {cold:,.0f} MB/s into an empty cache, "
            f"{warm:,.0f} MB/s from it;\n          bare requests for the same objects: "
            f"{bare:,.0f} MB/s with {THREADS} threads"
        )
        print(
            f"          {stats.fetched_chunks} chunks, {stats.fetched_bytes / 1e6:.1f} MB fetched "
            f"for two epochs; {stats.ranged_bytes / 1e6:.1f} MB more so that the first batch came "
            "early"
        )
        del loader, dataset
    shutil.rmtree(cache)


def bare_requests(options: Options) -> float:
    """MB/s of plain requests for all chunks, several at once."""
    with open_store(URL, options) as store, ThreadPoolExecutor(THREADS) as pool:
        keys = [info.key for info in store.list("chunks/")]
        began = time.perf_counter()
        size = sum(map(len, pool.map(store.get, keys)))
        return size / 1e6 / (time.perf_counter() - began)


def epoch(loader: ms.StreamingDataLoader) -> float:
    """MB/s of images in an epoch, of which each must come once."""
    began = time.perf_counter()
    size = sum(len(image) for batch in loader for image in batch["image"])
    seconds = time.perf_counter() - began
    if not loader.coverage().exact:
        raise SystemExit(f"not every photo came once: {loader.coverage()}")
    return size / 1e6 / seconds
