"""However the workers of a loader are started, each sample comes once; none ever hangs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import psutil
import pytest
import uploaded
from conftest import Open
from objects import ended_well, forked
from servers.faultproxy import FaultProxy
from servers.seaweedfs import SeaweedFS
from torch.utils.data import DataLoader

import millstream as ms
from millstream import errors

pytestmark = [
    pytest.mark.timeout(100),
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),
    pytest.mark.filterwarnings("ignore:Length of IterableDataset:UserWarning"),
]
METHODS = ["fork", "spawn", "forkserver"]


def labels(batches: Iterable[Any]) -> list[int]:
    return sorted(uploaded.check(batches))


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_our_loader(open_s3: Open, workers: int) -> None:
    loader = ms.StreamingDataLoader(open_s3(), batch_size=16, num_workers=workers)
    for _ in range(2):
        assert labels(loader) == list(range(uploaded.COUNT))
        assert loader.coverage().exact


@pytest.mark.parametrize(
    ("method", "workers"), [(None, 0), *[(method, n) for method in METHODS for n in (1, 3)]]
)
def test_a_plain_loader(
    open_s3: Open, s3_proxy: FaultProxy, method: str | None, workers: int
) -> None:
    dataset = open_s3()
    plain = DataLoader(dataset, batch_size=16, num_workers=workers, multiprocessing_context=method)
    for epoch in range(2):
        dataset.set_epoch(epoch)
        assert labels(plain) == list(range(uploaded.COUNT))
    # All of them through the one fetcher that this process has.
    asked = uploaded.chunk_requests(s3_proxy.tally())
    whole = [r for r in asked if r.range.startswith("bytes=0-") and r.bytes_out > 100_000]
    assert len(whole) == uploaded.CHUNKS


def test_a_plain_loader_by_index(open_s3: Open) -> None:
    dataset = open_s3()
    subset = DataLoader(
        dataset[:40], batch_size=8, num_workers=2, multiprocessing_context="fork"  # type: ignore[arg-type]
    )  # fmt: skip
    assert labels(subset) == list(range(40))


def test_a_loader_in_a_forked_child(open_s3: Open) -> None:
    """As frameworks do that fork after the script has opened its data, and looked at it."""
    dataset = open_s3()
    assert dataset[3]["label"] == 3
    batches = iter(dataset.batches(16))
    next(batches)

    def read(workers: int) -> None:
        loader = ms.StreamingDataLoader(dataset, batch_size=16, num_workers=workers)
        assert labels(loader) == list(range(uploaded.COUNT))
        assert [
            child.status() == psutil.STATUS_ZOMBIE for child in psutil.Process().children()
        ].count(False) == 0

    pids = [forked(lambda n=workers: read(n)) for workers in (0, 2)]
    assert [ended_well(pid) for pid in pids] == [True, True]
    assert labels(batches)[0] >= 0


def test_a_store_that_is_used_in_a_forked_child_says_what_to_do(
    on_s3: str, seaweedfs: SeaweedFS
) -> None:
    def walk() -> list[str]:
        found = ms.walk(on_s3, storage_options=seaweedfs.options())
        return [name for _, _, names in found for name in names]

    assert len(walk()) >= uploaded.CHUNKS

    def child() -> None:
        with pytest.raises(errors.ForkedStore, match=r"spawn.*StreamingDataset"):
            walk()

    assert ended_well(forked(child))
