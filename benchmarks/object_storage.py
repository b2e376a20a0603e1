"""How near an epoch from a bucket comes to bare requests for the same objects.

A dataset lies on a local S3 server with authentication, and is read directly and through shaped
links. In turns, each in a fresh process: bare GETs through obstore, with the number of threads
that was found best for this link; the same with the stages that follow (`stripped.py`); an epoch
into an empty cache (cold); and one from the cache that it left (warm). Every row is counted. A
cold epoch's clock starts when the loader is asked for its first batch: starting the workers is in
it, opening the dataset is not. CPU time is that of all processes, the server's too, while the
clock runs; memory is made ready before. On loopback the machine's cores are the limit: no epoch
that does what the stages do is faster than cores / CPU seconds of the last one.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import millstream as ms
from millstream.store import open_store

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).parent))

from servers.faultproxy import FaultProxy
from servers.faults import Slow
from servers.link import Link
from servers.seaweedfs import SeaweedFS

from stripped import STAGES, Meter, make_ready, stripped

OUT = Path(__file__).parent / "out" / "object_storage.json"
URL = "s3://millstream/benchmark"
IMAGE_BYTES = 100_000
CHUNK_BYTES = 16_000_000
THREADS = (2, 4, 8, 16, 32)
TRIED = 0.4  # of the chunks, to find the best number of threads
GOAL = 0.9
NAMES = {
    "get": "bare", "write": "bare, and write", "read": "bare, write and read",
    "cold": "cold", "warm": "warm",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A way to the server. rate: bytes a second. slow: the part of requests that have ten times
    the delay, and a tenth of the rate."""

    name: str
    megabytes: int
    rtt: float = 0.0
    rate: float = 0.0
    slow: float = 0.0


CASES = (
    Case(name="loopback", megabytes=1600),
    Case(name="20 ms, 1 Gbit/s", megabytes=1200, rtt=0.020, rate=1e9 / 8),
    Case(name="100 ms, 300 Mbit/s, 2 % slow", megabytes=400, rtt=0.1, rate=300e6 / 8, slow=0.02),
)


def make_dataset(folder: Path, megabytes: int, seed: int) -> None:
    """Images that no link could compress, with their labels."""

    def image(number: int) -> dict[str, Any]:
        noise = np.random.default_rng([seed, number]).bytes(IMAGE_BYTES)
        return {"image": noise, "label": number}

    count = megabytes * 1_000_000 // IMAGE_BYTES
    ms.optimize(image, range(count), folder, chunk_bytes=CHUNK_BYTES, num_workers=2, verbose=False)


def upload(folder: Path, url: str, options: dict[str, str]) -> None:
    """Every object of a dataset."""
    with open_store(url, options) as store:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            store.put_file(path.relative_to(folder).as_posix(), path)


# In a fresh process each -----------------------------------------------------------------------


def epoch(
    url: str, options: dict[str, str], server: int, cache: str, workers: int, ready: int = 0
) -> dict[str, float]:
    """A shuffled epoch of batches, every row once."""
    dataset = ms.StreamingDataset(url, storage_options=options, cache_dir=cache, shuffle=True)
    loader = ms.StreamingDataLoader(dataset, batch_size=64, num_workers=workers)
    make_ready(ready)
    meter = Meter(server)
    began, first, nbytes = time.perf_counter(), 0.0, 0
    for batch in loader:
        first = first or time.perf_counter() - began
        nbytes += sum(map(len, batch["image"]))
    found = meter(nbytes)
    if not loader.coverage().exact:
        raise SystemExit(f"not every row came once: {loader.coverage()}")
    stats = loader.stats()
    return {
        **found,
        "first_batch_seconds": first,
        "fetched_bytes": stats.fetched_bytes,
        "ranged_bytes": stats.ranged_bytes,
    }


def fresh(what: str, **arguments: Any) -> dict[str, float]:
    """What a function of this file returns in a process of its own."""
    command = [sys.executable, __file__, "--run", json.dumps({"what": what, **arguments})]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


# In turns --------------------------------------------------------------------------------------


def measure(
    case: Case, server: SeaweedFS, place: Path, rounds: int, workers: int
) -> dict[str, Any]:
    """Rates in MB/s of each round, and their ratios."""
    data, cache = place / "dataset", place / "cache"
    url = f"{URL}/{case.name.partition(',')[0].replace(' ', '-')}"
    make_dataset(data, case.megabytes, seed=len(case.name))
    upload(data, url, server.options())
    shutil.rmtree(data)
    runs: list[dict[str, dict[str, float]]] = []
    ready = int(1.1 * 1e6 * case.megabytes)
    with ExitStack() as stack:
        to = {"url": url, "options": server.options(endpoint=way(case, server, stack))}
        to["server"] = server.pid
        stream = {**to, "cache": str(cache), "workers": workers}
        tried = {n: fresh("stripped", **to, threads=n, part=TRIED) for n in THREADS}
        best = max(tried, key=lambda n: rate(tried[n]))
        stages = {"threads": best, "folder": str(place), "sample": IMAGE_BYTES, "ready": ready}
        for _ in range(rounds):
            run = {
                stage: fresh("stripped", **to, **stages, stage=stage)
                for stage in (STAGES if not case.rate else STAGES[:1])
            }
            run["cold"] = fresh("epoch", **stream, ready=ready)
            run["warm"] = fresh("epoch", **stream)
            runs.append(run)
            shutil.rmtree(cache)
    return {
        "case": case.name,
        "threads": best,
        "tried": {str(n): rate(one) for n, one in tried.items()},
        "rounds": runs,
    }


def way(case: Case, server: SeaweedFS, stack: ExitStack) -> str:
    """The URL of the server over a link of this case."""
    url = server.endpoint
    if case.slow:
        slow = Slow(
            method="GET",
            path="chunks/",
            probability=case.slow,
            delay=10 * case.rtt,
            rate=case.rate / 10,
        )
        proxy = stack.enter_context(FaultProxy(url, seed=1))
        proxy.do(slow)
        url = proxy.url
    if case.rate:
        url = stack.enter_context(Link(url, rtt=case.rtt, rate=case.rate)).url
    return url


def rate(one: dict[str, float]) -> float:
    """MB/s."""
    return one["bytes"] / one["seconds"] / 1e6


def cpu(one: dict[str, float]) -> float:
    """CPU seconds a GB."""
    return 1e9 * one["cpu_seconds"] / one["bytes"]


def show(found: dict[str, Any]) -> None:
    rounds = found["rounds"]

    def line(name: str, values: list[float], unit: str) -> None:
        middle = statistics.median(values)
        print(f"  {name:28} {middle:8.2f} {unit:6} {min(values):8.2f} - {max(values):.2f}")

    def ratio(one: str, other: str) -> None:
        if other in rounds[0]:
            values = [rate(run[one]) / rate(run[other]) for run in rounds]
            line(f"{NAMES[one]} / {NAMES[other]}", values, "")

    print(f"{found['case']}: bare GETs are fastest with {found['threads']} threads")
    for name in rounds[0]:
        line(NAMES[name], [rate(run[name]) for run in rounds], "MB/s")
    for name in rounds[0]:
        line(f"CPU, {NAMES[name]}", [cpu(run[name]) for run in rounds], "s/GB")
    for pair in (("cold", "get"), ("read", "get"), ("cold", "read"), ("warm", "get")):
        ratio(*pair)
    line("first batch, cold", [run["cold"]["first_batch_seconds"] for run in rounds], "s")
    line("ranged, cold", [run["cold"]["ranged_bytes"] / 1e6 for run in rounds], "MB")
    if "read" in rounds[0]:
        cores = len(os.sched_getaffinity(0))
        line("limit of the cores", [1e3 * cores / cpu(run["read"]) for run in rounds], "MB/s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--case", help="only those whose name begins so")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.run:
        arguments = json.loads(given.run)
        print(
            json.dumps({"stripped": stripped, "epoch": epoch}[arguments.pop("what")](**arguments))
        )
        return
    found = []
    with tempfile.TemporaryDirectory(prefix="millstream-benchmark-") as folder:
        place = Path(folder)
        (place / "server").mkdir()
        with SeaweedFS(place / "server") as server:
            for case in CASES:
                if case.name.startswith(given.case or ""):
                    found.append(measure(case, server, place, given.rounds, given.workers))
                    show(found[-1])
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps(found, indent=1))
    print(f"goal: cold at least {GOAL:.0%} of bare; all rounds are in {OUT}")


if __name__ == "__main__":
    main()
