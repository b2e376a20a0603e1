"""What streaming cannot do without, in loops of a few lines, one stage after the other.

get: bare GETs through obstore, into memory. write: each object also goes to a new file, as into a
cache. read: and is mapped from there, each sample is checked, and copied into a batch. The
difference of two stages is what the later one adds, on this machine and in this run.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import obstore
import psutil
from obstore.store import S3Store
from xxhash import xxh3_64_intdigest

STAGES = ("get", "write", "read")
BATCH = 64
READY_BYTES = 64 << 20


class Meter:
    """Seconds, and CPU seconds of this process, its children and the server, from now on."""

    def __init__(self, server: int) -> None:
        self._server = server
        self._cpu, self._began = self._used(), time.perf_counter()

    def __call__(self, nbytes: int) -> dict[str, float]:
        """What so many bytes took."""
        seconds = time.perf_counter() - self._began
        return {"bytes": nbytes, "seconds": seconds, "cpu_seconds": self._used() - self._cpu}

    def _used(self) -> float:
        """Of those that run, and of our children that have ended."""
        others = psutil.Process(self._server).children(recursive=True)
        others += psutil.Process().children(recursive=True)
        times = [process.cpu_times() for process in others]
        return sum(os.times()[:4]) + sum(one.user + one.system for one in times)


def make_ready(nbytes: int) -> None:
    """Has memory for a file of this size ready: the host of a virtual machine gives pages that
    were free for a while anew, which takes ten times as long as filling them."""
    block = bytes(READY_BYTES)
    with tempfile.TemporaryFile() as file:
        for _ in range(-(-nbytes // len(block))):
            file.write(block)


def stripped(
    url: str, options: dict[str, str], server: int, threads: int, *,
    stage: str = "get", part: float = 1, folder: str = "", sample: int = 1, ready: int = 0,
) -> dict[str, float]:  # fmt: skip
    """A stage over this part of the chunks, as many at once as there are threads."""
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    config = {name: value for name, value in options.items() if name != "endpoint_url"}
    store = S3Store(
        bucket, prefix=prefix, config={**config, "endpoint": options["endpoint_url"]},
        client_options={"allow_http": True, "timeout": "1 day"},
    )  # fmt: skip
    keys = [meta["path"] for page in obstore.list(store, "chunks") for meta in page]
    keys = keys[: int(len(keys) * part)]
    with tempfile.TemporaryDirectory(dir=folder or None) as place:
        make_ready(ready)
        meter = Meter(server)
        with ThreadPoolExecutor(threads) as pool:
            one = _one(store, stage, Path(place), sample)
            return meter(sum(pool.map(one, keys)))


def _one(store: S3Store, stage: str, place: Path, sample: int) -> Callable[[str], int]:
    def get(key: str) -> int:
        content = memoryview(obstore.get(store, key).bytes())
        if stage == "get":
            return len(content)
        with (place / Path(key).name).open("w+b", buffering=0) as file:
            os.posix_fallocate(file.fileno(), 0, len(content))
            at = 0
            while at < len(content):
                at += os.pwrite(file.fileno(), content[at:], at)
            if stage == "read":
                mapped = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
                for _ in _batches(mapped, sample):
                    pass
        return len(content)

    return get


def _batches(content: memoryview, sample: int) -> Iterator[list[bytes]]:
    batch = []
    for at in range(0, len(content), sample):
        row = content[at : at + sample]
        xxh3_64_intdigest(row)
        batch.append(bytes(row))
        if len(batch) == BATCH:
            yield batch
            batch = []
    yield batch
