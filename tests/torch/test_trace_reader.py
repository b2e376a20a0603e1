"""Where a run is slow is where the stats and the trace say it is, as Chrome's own reader has it.

What is made slow takes a hundred times what everything else takes.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from servers.faultproxy import FaultProxy
from servers.faults import Slow
from servers.node import node, node_modules
from servers.seaweedfs import SeaweedFS

import millstream as ms

pytestmark = [
    pytest.mark.timeout(200),
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),
]
ENGINE = node_modules("trace-engine") / "@paulirish/trace_engine"
ROWS, BATCH = 120, 10
WAYS: list[dict[str, Any]] = [
    {},
    {"num_workers": 2},
    {"num_workers": 2, "workers": "threads"},
]
STAGES = ("fetch", "read", "decode", "collate")


@dataclass(frozen=True)
class Span:
    name: str
    ts: float
    dur: float
    step: int


def as_chrome_reads(path: Path) -> dict[str, list[Span]]:
    """The spans of each thread of a trace, by its name."""
    command = [node(), Path(__file__).with_name("read_trace.mjs"), ENGINE, path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    threads = {each["name"]: [Span(**span) for span in each["spans"]] for each in found["threads"]}
    spans = [span for each in threads.values() for span in each]
    assert found["start"] <= min(span.ts for span in spans)
    assert found["end"] >= max(span.ts + span.dur for span in spans) - 1
    return threads


def work(times: int = 1) -> None:
    """Takes some 10 ms of CPU each time."""
    for _ in range(times):
        hashlib.pbkdf2_hmac("sha256", b"", b"", 10_000)


def make(i: int) -> dict[str, Any]:
    return {"id": i, "v": np.full(3, i)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("data") / "d"
    ms.optimize(make, range(ROWS), place, chunk_size=20, num_workers=0, verbose=False)
    return place


def profiled(dataset: ms.StreamingDataset, folder: Path, **options: Any) -> ms.StreamingDataLoader:
    return ms.StreamingDataLoader(
        dataset, batch_size=BATCH, profile_batches=ROWS // BATCH, profile_dir=folder, **options
    )


def seconds(threads: dict[str, list[Span]]) -> dict[str, float]:
    """How long each stage took, over all threads."""
    found: dict[str, float] = defaultdict(float)
    for spans in threads.values():
        for span in spans:
            found[span.name] += span.dur / 1e6
    return found


def slowest(threads: dict[str, list[Span]]) -> str:
    took = seconds(threads)
    return max(STAGES, key=lambda name: took[name])


def slow_transform(sample: dict[str, Any]) -> dict[str, Any]:
    work()
    return sample


def slow_collate(samples: list[Any]) -> list[Any]:
    work(10)
    return samples


def test_chrome_reads_each_worker_and_each_stage_of_each_batch(
    folder: Path, tmp_path: Path
) -> None:
    dataset = ms.StreamingDataset(folder, transform=slow_transform)
    list(profiled(dataset, tmp_path, num_workers=2, persistent_workers=False))
    threads = as_chrome_reads(tmp_path / "result.json")
    assert set(threads) == {"trainer", "worker 0", "worker 1"}
    written = json.loads((tmp_path / "result.json").read_text())["traceEvents"]
    spans = [event for event in written if event["ph"] == "X"]
    assert sum(map(len, threads.values())) == len(spans)
    steps = set(range(ROWS // BATCH))
    for name in ("read", "decode", "collate"):
        made = {worker: [s.step for s in of if s.name == name] for worker, of in threads.items()}
        assert sorted(step for some in made.values() for step in some) == sorted(steps)
        assert len(made["worker 0"]) > 2 < len(made["worker 1"])
    assert {span.name for span in threads["worker 0"]} <= set(STAGES)
    assert {s.step for s in threads["trainer"] if s.name in ("wait", "hand-over")} == steps


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_slow_transforms_are_seen(folder: Path, tmp_path: Path, way: dict[str, Any]) -> None:
    loader = profiled(ms.StreamingDataset(folder, transform=slow_transform), tmp_path, **way)
    list(loader)
    assert loader.stats().bottleneck == "decoding and transforms"
    assert slowest(as_chrome_reads(tmp_path / "result.json")) == "decode"


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_slow_collating_is_seen(folder: Path, tmp_path: Path, way: dict[str, Any]) -> None:
    loader = profiled(ms.StreamingDataset(folder), tmp_path, collate_fn=slow_collate, **way)
    list(loader)
    assert loader.stats().bottleneck == "collating"
    assert slowest(as_chrome_reads(tmp_path / "result.json")) == "collate"


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_a_slow_trainer_is_seen(folder: Path, tmp_path: Path, way: dict[str, Any]) -> None:
    loader = profiled(ms.StreamingDataset(folder), tmp_path, **way)
    for _ in loader:
        work(30)
    assert loader.stats().bottleneck == "the trainer"
    spans = as_chrome_reads(tmp_path / "result.json")["trainer"]
    whole = max(span.ts + span.dur for span in spans) - min(span.ts for span in spans)
    waits = sum(s.dur for s in spans if s.name in ("wait", "hand-over") and s.step > 0)
    assert waits < 0.05 * whole


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_a_slow_network_is_seen(
    folder: Path,
    tmp_path: Path,
    way: dict[str, Any],
    seaweedfs: SeaweedFS,
    s3_proxy: FaultProxy,
    prefix: str,
) -> None:
    url = f"s3://millstream/{prefix}"
    options = seaweedfs.options()
    ms.optimize(
        lambda i: {**make(i), "raw": bytes(20_000)}, range(ROWS), url, chunk_size=20,
        num_workers=0, verbose=False, storage_options=options,
    )  # fmt: skip
    s3_proxy.do(Slow(rate=1_500_000, method="GET"))
    dataset = ms.StreamingDataset(
        url,
        storage_options=seaweedfs.options(endpoint=s3_proxy.url),
        cache_dir=tmp_path / "cache",
        max_cache_size="1MB",  # for two chunks: what follows is fetched on the way
    )
    loader = profiled(dataset, tmp_path, **way)
    list(loader)
    assert loader.stats().bottleneck == "the network"
    assert slowest(as_chrome_reads(tmp_path / "result.json")) == "fetch"
