"""Runs that are slow for one reason each, and what `stats()` prints of them: docs/when-slow.md.

    python benchmarks/slow_runs.py [NAME ...]

The network is a shaped link to a plain HTTP server of tests/servers, 20 ms there and back.
"""

from __future__ import annotations

import argparse
import functools
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

from servers.http import HTTPServer  # noqa: E402
from servers.link import Link  # noqa: E402

import millstream as ms  # noqa: E402

MEGABIT = 1e6 / 8
SHOWN = ("fetched_chunks", "fetched_bytes", "ranged_requests", "ranged_bytes", "opened_chunks")


def write(folder: Path) -> None:
    """4,096 pictures of 12 kB, 50 MB, in chunks of 2 MB; and a million numbers."""
    rng = np.random.default_rng(0)
    ms.optimize(
        lambda i: {"id": i, "pixels": rng.integers(0, 256, (64, 64, 3), np.uint8)},
        range(4096),
        folder / "pictures",
        chunk_bytes="2MB",
        num_workers=0,
        verbose=False,
    )
    ms.optimize(
        lambda start: {"x": np.arange(start, start + 10_000), "y": np.ones(10_000, np.float32)},
        range(0, 1_000_000, 10_000),
        folder / "numbers",
        batched=True,
        num_workers=0,
        verbose=False,
    )


def network(folder: Path) -> None:
    """50 MB over 100 Mbit/s, into an empty cache, and then out of it."""
    with HTTPServer(folder) as server, Link(server.url, rtt=0.02, rate=100 * MEGABIT) as link:
        dataset = ms.StreamingDataset(
            f"{link.url}/pictures", shuffle=True, cache_dir=folder / "cache"
        )
        loader = ms.StreamingDataLoader(dataset, batch_size=64, num_workers=2)
        show("first epoch", loader, loader)
        second = ms.StreamingDataLoader(dataset, batch_size=64, num_workers=2)
        show("second epoch", second, second)


def small_cache(folder: Path) -> None:
    """The same with a cache of 20 MB."""
    with HTTPServer(folder) as server, Link(server.url, rtt=0.02, rate=100 * MEGABIT) as link:
        for name, options in (
            ("20 MB, defaults", {}),
            ("20 MB, lanes=2, shuffle_window=500", {"lanes": 2, "shuffle_window": 500}),
        ):
            dataset = ms.StreamingDataset(
                f"{link.url}/pictures",
                shuffle=True,
                cache_dir=folder / f"small-{len(options)}",
                max_cache_size="20MB",
                **options,
            )
            print(dataset.plan(batch_size=64).explain())
            for epoch in range(2):
                loader = ms.StreamingDataLoader(dataset, batch_size=64, num_workers=2)
                loader.set_epoch(epoch)
                show(f"{name}, epoch {epoch}", loader, loader)


def blurred(sample: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A transform that takes some 2 ms."""
    pixels = sample["pixels"].astype(np.float64)
    for _ in range(30):
        pixels = (pixels + np.roll(pixels, 1, 0) + np.roll(pixels, 1, 1)) / 3
    return {"id": sample["id"], "pixels": pixels.astype(np.uint8)}


def transform(folder: Path) -> None:
    """A slow function a sample."""
    for workers in (1, 2):
        dataset = ms.StreamingDataset(folder / "pictures", shuffle=True, transform=blurred)
        loader = ms.StreamingDataLoader(dataset, batch_size=64, num_workers=workers)
        show(f"{workers} workers", loader, loader)


def trainer(folder: Path) -> None:
    """Steps of 100 ms; and the same with data that costs nothing."""
    dataset = ms.StreamingDataset(folder / "pictures", shuffle=True)
    for name, replay in (("as it is", None), ("replay=8", 8)):
        loader = ms.StreamingDataLoader(
            dataset, batch_size=64, num_workers=2, persistent_workers=True, replay=replay
        )
        # The sleep stands for the step of a trainer.
        show(name, loader, (time.sleep(0.1) for _ in loader))


def small_batches(folder: Path) -> None:
    """A million numbers, a few at a time."""
    dataset = ms.StreamingDataset(folder / "numbers", shuffle=True)
    for size, workers in ((8, 2), (8, 0), (512, 2), (512, 0)):
        loader = ms.StreamingDataLoader(dataset, batch_size=size, num_workers=workers)
        show(f"batch_size={size}, num_workers={workers}", loader, loader)


def writing(folder: Path) -> None:
    """What the seconds of `optimize` depend on; `report.seconds` of each call."""

    def timed(name: str, fn: Callable, inputs: Sequence, **options: object) -> None:
        place = folder / "written" / name.replace(" ", "-").replace("/", "-")
        before = sum(os.times()[:4])
        report = ms.optimize(fn, inputs, place, verbose=False, **options)
        cpu = sum(os.times()[:4]) - before  # of this process, and of its workers, which are gone
        rate, size = report.samples / report.seconds, report.bytes / 1e6
        seconds = f"{report.seconds:.2f} s, {cpu:.2f} of CPU"
        print(f"{name}: {seconds}, {rate:,.0f} samples/s, {size:.1f} MB")

    for workers in (0, 2):
        timed(f"numbers, {workers} workers", number, range(200_000), num_workers=workers)
        timed(f"slow fn, {workers} workers", slow, range(1000), num_workers=workers)
    spans = [(start, start + 10_000) for start in range(0, 200_000, 10_000)]
    timed("numbers, batched, 0 workers", many_numbers, spans, num_workers=0, batched=True)
    (folder / "files").mkdir()
    for n in range(2000):
        (folder / f"files/{n}").write_bytes(np.random.default_rng(n).bytes(100_000))
    paths = [str(folder / f"files/{n}") for n in range(2000)]
    timed("files that fn reads", lambda path: Path(path).read_bytes(), paths, num_workers=2)
    timed("files as ms.File", lambda path: ms.File(path), paths, num_workers=2)
    words = (ROOT / "docs" / "benchmarks.md").read_text().split()
    for compression in (None, "zstd", "zstd:9", "zstd:19", "zstd/frame"):
        text = functools.partial(sentence, words)
        name = f"text, {compression}"
        timed(name, text, range(40_000), num_workers=2, compression=compression)


def number(i: int) -> dict[str, float]:
    """A sample of two numbers."""
    return {"id": i, "half": i / 2}


def many_numbers(span: tuple[int, int]) -> dict[str, list]:
    """The same of many inputs, as columns."""
    ids = np.arange(*span)
    return {"id": ids.tolist(), "half": (ids / 2).tolist()}


def slow(i: int) -> int:
    """Some 4 ms of Python."""
    return sum(n * i for n in range(50_000)) % 1000


def sentence(words: list[str], i: int) -> str:
    """Some 40 words."""
    return " ".join(words[i * k % len(words)] for k in range(1, 41))


def show(name: str, loader: ms.StreamingDataLoader, batches: Iterable[object]) -> None:
    """Goes through batches, and prints what their loader says."""
    began = time.perf_counter()
    count = sum(1 for _ in batches)
    seconds = time.perf_counter() - began
    stats = loader.stats()
    print(f"\n{name}: {count / seconds:,.0f} batches/s\n{stats}")
    print(", ".join(f"{field}={getattr(stats, field):,}" for field in SHOWN))


RUNS: dict[str, Callable[[Path], None]] = {
    "network": network,
    "transform": transform,
    "trainer": trainer,
    "cache": small_cache,
    "batches": small_batches,
    "writing": writing,
}


def main() -> None:
    """Runs those that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(RUNS))
    names = parser.parse_args().names or list(RUNS)
    with tempfile.TemporaryDirectory() as place:
        write(Path(place))
        for name in names:
            print(f"\n== {name}")
            RUNS[name](Path(place))


if __name__ == "__main__":
    main()
