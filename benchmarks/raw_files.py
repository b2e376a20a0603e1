"""Files as they are: from a folder beside a plain torch Dataset, from S3 beside bare requests.

Random bytes in files of 93 KB, in ten folders. Whole shuffled epochs, with the start of the
workers, in turns; medians over the rounds, with the least and most. CPU time is that of this
process and all that it started, the server's too. "cold" is an epoch into an empty cache, "warm"
the one after it, "past the cache" one with cache_files=False. --listed: lists so many made-up
files, too, and says what that takes.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
import tracemalloc
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from torch.utils.data import DataLoader, Dataset

import millstream as ms
from millstream.reading.raw.items import Items
from millstream.reading.raw.listing import list_files
from millstream.reading.raw.source import FileSource
from millstream.reading.stream import Stream
from millstream.store import Folder, ObjectInfo, open_store

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from servers.seaweedfs import SeaweedFS

FILE_BYTES = 93_000
BATCH = 64
URL = "s3://millstream/raw"
THREADS = 16


class Plain(Dataset[bytes]):
    """What one would write by hand."""

    def __init__(self, root: Path) -> None:
        self._paths = sorted(str(path) for path in root.rglob("*.bin"))

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> bytes:
        with open(self._paths[index], "rb") as file:  # noqa: PTH123 - as one would write it
            return file.read()


def make_files(root: Path, count: int) -> None:
    noise = np.random.default_rng(1).bytes(FILE_BYTES + 4 * count)
    for number in range(count):
        folder = root / f"{number * 10 // count}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number:06}.bin").write_bytes(noise[4 * number : 4 * number + FILE_BYTES])


def cpu_seconds() -> float:
    """Of this process and all below it, those that have ended included."""
    total = 0.0
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        try:
            times = process.cpu_times()
        except psutil.Error:  # gone meanwhile
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


Rates = dict[str, list[tuple[float, float]]]


def measure(rates: Rates, name: str, batches: Iterable[Any], count: int) -> None:
    """The rate of an epoch, and the CPU time of a file."""
    began, cpu, seen = time.perf_counter(), cpu_seconds(), 0
    for batch in batches:
        seen += len(batch)
    seconds = time.perf_counter() - began
    if seen != count:
        raise SystemExit(f"{name}: {seen} files came, of {count}")
    rates[name].append((count / seconds, (cpu_seconds() - cpu) / count))


def local_round(rates: Rates, root: Path, count: int, workers: int) -> None:
    options: dict[str, Any] = {"batch_size": BATCH, "num_workers": workers}
    plain = DataLoader(Plain(root), shuffle=True, collate_fn=list, **options)
    ours = ms.StreamingDataLoader(ms.StreamingRawDataset(root, shuffle=True), **options)
    measure(rates, f"folder, {workers} workers, plain torch", plain, count)
    measure(rates, f"folder, {workers} workers, ours", ours, count)


def s3_round(rates: Rates, place: Path, options: dict[str, Any], count: int, workers: int) -> None:
    def opened(**more: Any) -> ms.StreamingDataLoader:
        cache = tempfile.mkdtemp(dir=place)  # of its own, or it would find what others have left
        dataset = ms.StreamingRawDataset(
            URL, cache_dir=cache, storage_options=options, shuffle=True, **more
        )
        return ms.StreamingDataLoader(dataset, batch_size=BATCH, num_workers=workers)

    loader = opened()
    for name in ("cold", "warm"):
        measure(rates, f"S3, {workers} workers, {name}", loader, count)
    del loader
    for path in place.glob("tmp*"):
        shutil.rmtree(path, ignore_errors=True)  # what goes ahead may still write there
    measure(rates, f"S3, {workers} workers, past the cache", opened(cache_files=False), count)


def bare(options: dict[str, Any], keys: list[str]) -> Iterator[list[bytes]]:
    """The same objects by as many threads as are best here, more or less."""
    with open_store(URL, options) as store, ThreadPoolExecutor(THREADS) as pool:  # type: ignore[attr-defined]
        yield list(pool.map(store.get, keys))


def many_folders(count: int, each: int = 1_000) -> Callable[[str], Folder]:
    """A place with so many made-up files."""

    def folder(prefix: str) -> Folder:
        if not prefix:
            names = [f"class-{number:06}" for number in range(count // each)]
            return Folder(folders=names, objects=[])
        first = int(prefix[6:12]) * each
        found = [
            ObjectInfo(
                key=f"{prefix}image-{number:09}.jpg", size=FILE_BYTES, modified=0.0,
                tag=f"{number * 0x9E3779B97F4A7C15 % (1 << 64):016x}",
            )
            for number in range(first, first + each)
        ]  # fmt: skip
        return Folder(folders=[], objects=found)

    return folder


def list_many(count: int) -> None:
    class Place:
        folder = staticmethod(many_folders(count))

    began = time.perf_counter()
    files = list_files(Place())
    listed = time.perf_counter() - began
    tracemalloc.start()
    began = time.perf_counter()
    source = FileSource(open_store("memory://many"), Items(files=files), (None,))
    stream = Stream(
        source=source, seed=1, subsample=1.0, shuffle=True, lanes=None, window=count,
        cache_bytes=1 << 40,
    )  # fmt: skip
    epoch = stream.order(8).epoch(3)
    files.listed(epoch.rows(np.arange(0, 8 * 512, 8)))
    planned, held = time.perf_counter() - began, tracemalloc.get_traced_memory()[0]
    arrays = (files.keys, files.ends, files.sizes, files.tags)
    print(
        f"{count:,} files: listed in {listed:.1f} s, {sum(a.nbytes for a in arrays) / 1e6:.0f} MB; "
        f"an order and its first 512 samples of a rank in {planned:.2f} s, {held / 1e6:.0f} MB"
    )


def report(rates: Rates) -> None:
    for name, found in rates.items():
        files = [rate for rate, _ in found]
        cpu = [1e6 * seconds for _, seconds in found]
        print(
            f"{name:40} {statistics.median(files):8,.0f} files/s ({min(files):,.0f} to "
            f"{max(files):,.0f}), {statistics.median(cpu):6,.0f} us CPU a file ({min(cpu):,.0f} to "
            f"{max(cpu):,.0f})"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--listed", type=int, default=0)
    told = parser.parse_args()
    rates: Rates = defaultdict(list)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        place, root = Path(folder), Path(folder) / "files"
        make_files(root, told.files)
        (place / "s3").mkdir()
        with SeaweedFS(place / "s3") as server:
            options = server.options()
            store = open_store(URL, options)
            keys = [path.relative_to(root).as_posix() for path in sorted(root.rglob("*.bin"))]
            with ThreadPoolExecutor(THREADS) as pool:
                list(pool.map(lambda key: store.put_file(key, root / key), keys))
            for _ in range(told.rounds):
                for workers in (0, 2):
                    local_round(rates, root, told.files, workers)
                measure(rates, f"S3, bare, {THREADS} threads", bare(options, keys), told.files)
                for workers in (0, 2):
                    s3_round(rates, place, options, told.files, workers)
    report(rates)
    if told.listed:
        list_many(told.listed)


if __name__ == "__main__":
    main()
