"""How near an epoch from a bucket comes to bare requests for the same objects.

A dataset lies on a local S3 server with authentication, and is read directly and through shaped
links. In turns, each in a fresh process: bare GETs through obstore, with the number of threads
that was found best for this link; an epoch into an empty cache (cold); and one from the cache
that it left (warm). Every row is counted. A cold epoch's clock starts when the loader is asked
for its first batch: starting the workers is in it, opening the dataset is not.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

import millstream as ms
from millstream.store import open_store

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from servers.faultproxy import FaultProxy
from servers.faults import Slow
from servers.link import Link
from servers.seaweedfs import SeaweedFS

OUT = Path(__file__).parent / "out" / "object_storage.json"
URL = "s3://millstream/benchmark"
IMAGE_BYTES = 100_000
CHUNK_BYTES = 16_000_000
THREADS = (2, 4, 8, 16, 32)
TRIED = 0.4  # of the chunks, to find the best number of threads
GOAL = 0.9


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


def bare(url: str, options: dict[str, str], threads: int, part: float = 1) -> dict[str, float]:
    """GETs of this part of the chunks, as many at once as there are threads."""
    import obstore
    from obstore.store import S3Store

    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    config = {name: value for name, value in options.items() if name != "endpoint_url"}
    store = S3Store(
        bucket, prefix=prefix, config={**config, "endpoint": options["endpoint_url"]},
        client_options={"allow_http": True, "timeout": "1 day"},
    )  # fmt: skip
    keys = [meta["path"] for page in obstore.list(store, "chunks") for meta in page]
    keys = keys[: int(len(keys) * part)]
    began = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        sizes = list(pool.map(lambda key: len(obstore.get(store, key).bytes()), keys))
    return {"bytes": sum(sizes), "seconds": time.perf_counter() - began}


def epoch(url: str, options: dict[str, str], cache: str, workers: int) -> dict[str, float]:
    """A shuffled epoch of batches, every row once."""
    dataset = ms.StreamingDataset(url, storage_options=options, cache_dir=cache, shuffle=True)
    loader = ms.StreamingDataLoader(dataset, batch_size=64, num_workers=workers)
    began, first, nbytes = time.perf_counter(), 0.0, 0
    for batch in loader:
        first = first or time.perf_counter() - began
        nbytes += sum(map(len, batch["image"]))
    seconds = time.perf_counter() - began
    if not loader.coverage().exact:
        raise SystemExit(f"not every row came once: {loader.coverage()}")
    stats = loader.stats()
    return {
        "bytes": nbytes,
        "seconds": seconds,
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


def cpu_seconds(server: SeaweedFS) -> float:
    """What the server has used so far, and the processes of this file that have ended."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    processes = psutil.Process(server.pid).children(recursive=True)
    times = [process.cpu_times() for process in processes]
    return ended.ru_utime + ended.ru_stime + sum(time.user + time.system for time in times)


def measured(server: SeaweedFS, what: str, **arguments: Any) -> dict[str, float]:
    """A run, and the CPU time that it and the server took."""
    before = cpu_seconds(server)
    result = fresh(what, **arguments)
    return {**result, "cpu_seconds": cpu_seconds(server) - before}


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
    with ExitStack() as stack:
        to = {"url": url, "options": server.options(endpoint=way(case, server, stack))}
        stream = {**to, "cache": str(cache), "workers": workers}
        fresh("epoch", **stream)  # not measured: the disk gives new pages slowly the first time
        tried = {n: fresh("bare", **to, threads=n, part=TRIED) for n in THREADS}
        best = max(tried, key=lambda n: rate(tried[n]))
        for _ in range(rounds):
            run = {"bare": measured(server, "bare", **to, threads=best)}
            # Just before: memory that is free for long goes back to the host, and comes slowly.
            shutil.rmtree(cache)
            run["cold"] = measured(server, "epoch", **stream)
            run["warm"] = measured(server, "epoch", **stream)
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


def show(found: dict[str, Any]) -> None:
    rounds = found["rounds"]

    def line(name: str, values: list[float], unit: str) -> None:
        middle = statistics.median(values)
        print(f"  {name:24} {middle:8.2f} {unit:6} {min(values):8.2f} - {max(values):.2f}")

    print(f"{found['case']}: bare GETs are fastest with {found['threads']} threads")
    for name in ("bare", "cold", "warm"):
        line(name, [rate(one[name]) for one in rounds], "MB/s")
    line("cold / bare", [rate(one["cold"]) / rate(one["bare"]) for one in rounds], "")
    line("warm / bare", [rate(one["warm"]) / rate(one["bare"]) for one in rounds], "")
    line("first batch, cold", [one["cold"]["first_batch_seconds"] for one in rounds], "s")
    for name in ("bare", "cold"):
        line(
            f"CPU, {name}",
            [1e9 * one[name]["cpu_seconds"] / one[name]["bytes"] for one in rounds],
            "s/GB",
        )
    line("ranged, cold", [one["cold"]["ranged_bytes"] / 1e6 for one in rounds], "MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--case", help="only those whose name begins so")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.run:
        arguments = json.loads(given.run)
        print(json.dumps({"bare": bare, "epoch": epoch}[arguments.pop("what")](**arguments)))
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
