"""Whole shuffled epochs through a network's faults: ridden out, or one clear error."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uploaded
from conftest import Open
from servers.faultproxy import FaultProxy
from servers.faults import (
    Fault,
    Flip,
    Reset,
    Slow,
    Stall,
    Truncate,
    clock_skew,
    expired_token,
    refusal,
    slow_down,
    too_many_requests,
)
from servers.seaweedfs import SeaweedFS

import millstream as ms
from millstream import errors
from millstream.format.keys import version_key
from millstream.reading.dataset import stream_of
from millstream.store import open_store

pytestmark = pytest.mark.timeout(100)

CHUNKS = "/chunks/"
MIXED = [
    slow_down(probability=0.002),  # who is told that waits a second
    too_many_requests(retry_after=0, probability=0.002),
    Reset(probability=0.015),
    Reset(after=1_000, path=CHUNKS, probability=0.01),
    Truncate(after=1_000, path=CHUNKS, probability=0.01),
    Flip(at=-1, path=CHUNKS, probability=0.01),
    Slow(delay=0.3, path=CHUNKS, probability=0.005),
]
PASSING: dict[str, list[Fault]] = {
    "a burst of 503": [slow_down(path=CHUNKS, skip=5, times=25)],
    "429 with Retry-After": [too_many_requests(retry_after=1, path=CHUNKS, skip=3, times=8)],
    "resets": [Reset(path=CHUNKS, probability=0.3), Reset(after=50_000, path=CHUNKS, times=9)],
    "bodies cut short": [Truncate(after=1_000, path=CHUNKS, probability=0.5)],
    "a byte of every chunk flipped": [Flip(at=150_000, path=CHUNKS, per_key=True, times=1)],
    "a byte of every head flipped": [Flip(at=70, path=CHUNKS, per_key=True, times=1)],
    "stalls": [Stall(after=10_000, path=CHUNKS, skip=4, times=3), Stall(path=CHUNKS, times=2)],
}  # fmt: skip


def read(loader: ms.StreamingDataLoader, after_first: Callable[[], object] | None = None) -> Any:
    labels = []
    for number, batch in enumerate(loader):
        labels += uploaded.check([batch])
        if number == 0 and after_first is not None:
            after_first()
    assert loader.coverage().exact
    return labels


# One window a lane: else it would depend on the size of the cache.
TINY = {"max_cache_size": 400_000, "shuffle_window": 64}


def expected(folder: Path, **options: Any) -> list[int]:
    near = ms.StreamingDataset(folder, shuffle=True, **options)
    return uploaded.check(ms.StreamingDataLoader(near, batch_size=16))


@pytest.mark.parametrize("name", PASSING)
def test_passing_faults_are_ridden_out(
    open_s3: Open, s3_proxy: FaultProxy, folder: Path, name: str
) -> None:
    loader = ms.StreamingDataLoader(open_s3(), batch_size=16, num_workers=2)
    s3_proxy.do(*PASSING[name])
    assert read(loader) == expected(folder)
    assert sum(s3_proxy.tally().faults.values()) >= 4


def test_no_sample_is_lost_in_an_epoch_at_five_percent(
    open_s3: Open, s3_proxy: FaultProxy, folder: Path
) -> None:
    """With a cache of one chunk, so that nearly everything is asked for again and again."""
    loader = ms.StreamingDataLoader(open_s3(**TINY), batch_size=8, num_workers=2)
    s3_proxy.do(*MIXED)
    local = ms.StreamingDataset(folder, shuffle=True, shuffle_window=64)
    near = ms.StreamingDataLoader(local, batch_size=8)
    assert read(loader) == uploaded.check(near)
    tally = s3_proxy.tally()
    assert tally.requests > 200
    assert len(tally.faults) >= 4
    assert 0.02 < sum(tally.faults.values()) / tally.requests < 0.1


@pytest.mark.parametrize("workers", [0, 2])
def test_an_endpoint_that_is_down_for_a_while_is_waited_for(
    open_s3: Open, s3_proxy: FaultProxy, folder: Path, workers: int
) -> None:
    loader = ms.StreamingDataLoader(open_s3(**TINY), batch_size=16, num_workers=workers)
    labels = read(loader, lambda: s3_proxy.down(3.0))
    assert labels == expected(folder, shuffle_window=64)


# What will not pass ---------------------------------------------------------------------------

LATER: dict[str, Any] = {"path": CHUNKS, "skip": 6}
FINAL: dict[str, tuple[Fault, type[Exception], list[str]]] = {
    "credentials that have expired": (
        expired_token(**LATER),
        errors.AccessDenied,
        ["ExpiredToken", "aws_access_key_id"],
    ),
    "a clock that is wrong": (
        clock_skew(**LATER),
        errors.AccessDenied,
        ["clock", "RequestTimeTooSkewed"],
    ),
    "no permission": (
        refusal(403, "AccessDenied", **LATER),
        errors.AccessDenied,
        ["403", "storage_options"],
    ),
    "a bucket that is gone": (
        refusal(404, "NoSuchBucket", **LATER),
        errors.StorageError,
        ["bucket does not exist"],
    ),
    "an endpoint that never recovers": (
        slow_down(**LATER),
        errors.StoreUnavailable,
        ["SlowDown", "3 times"],
    ),
}


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("name", FINAL)
def test_what_will_not_pass_is_one_clear_error(
    open_s3: Open, s3_proxy: FaultProxy, name: str, workers: int
) -> None:
    fault, kind, parts = FINAL[name]
    dataset = open_s3({"retry_attempts": 3, "retry_seconds": 5})
    loader = ms.StreamingDataLoader(dataset, batch_size=16, num_workers=workers)
    s3_proxy.reset()
    s3_proxy.do(fault)
    with pytest.raises(kind) as error:
        list(loader)
    said = str(error.value)
    for part in ("s3://millstream/streamed", *parts):
        assert part in said
    assert "Traceback" not in said
    # Each piece of each chunk is tried so often and no more, by whoever asks.
    attempts = 3 if kind is errors.StoreUnavailable else 1
    assert s3_proxy.tally().requests <= 6 + attempts * 6 * uploaded.CHUNKS
    s3_proxy.do()
    assert len(read(loader)) == uploaded.COUNT


def test_a_bucket_that_does_not_exist(seaweedfs: SeaweedFS, tmp_path: Path) -> None:
    with pytest.raises(errors.StorageError, match="the bucket does not exist"):
        ms.StreamingDataset(
            "s3://no-such-bucket/a", storage_options=seaweedfs.options(), cache_dir=tmp_path
        )
    with pytest.raises(errors.DatasetNotFound, match="holds no finished millstream dataset"):
        ms.StreamingDataset(
            "s3://millstream/nothing", storage_options=seaweedfs.options(), cache_dir=tmp_path
        )
    wrong = {**seaweedfs.options(), "aws_secret_access_key": "not-the-secret"}
    with pytest.raises(errors.AccessDenied, match="SignatureDoesNotMatch") as error:
        ms.StreamingDataset("s3://millstream/streamed", storage_options=wrong, cache_dir=tmp_path)
    assert "not-the-secret" not in str(error.value)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("damage", ["cut", "gone", "flipped"])
def test_an_object_that_is_bad_is_named(
    folder: Path, seaweedfs: SeaweedFS, prefix: str, tmp_path: Path, damage: str, workers: int
) -> None:
    url = f"s3://millstream/{prefix}"
    uploaded.upload(folder, url, seaweedfs.options())
    dataset = ms.StreamingDataset(
        url, storage_options=seaweedfs.options(), shuffle=True, cache_dir=tmp_path
    )
    name = stream_of(dataset).source.manifest.chunks.name(4)
    content = bytearray((folder / "chunks" / name).read_bytes())
    store = open_store(url, seaweedfs.options())
    if damage == "gone":
        store.delete(f"chunks/{name}")
    elif damage == "cut":
        store.put(f"chunks/{name}", bytes(content[:-10]))
    else:
        content[-10] ^= 1
        store.put(f"chunks/{name}", bytes(content))
    loader = ms.StreamingDataLoader(dataset, batch_size=16, num_workers=workers)
    with pytest.raises(errors.CorruptData) as error:
        list(loader)
    assert name in str(error.value)
    store.put_file(f"chunks/{name}", folder / "chunks" / name)
    assert len(read(loader)) == uploaded.COUNT


@pytest.mark.parametrize("workers", [0, 2])
def test_a_manifest_that_is_replaced_while_it_is_read(
    folder: Path, seaweedfs: SeaweedFS, prefix: str, tmp_path: Path, workers: int
) -> None:
    url, options = f"s3://millstream/{prefix}", seaweedfs.options()
    uploaded.upload(folder, url, options)
    dataset = ms.StreamingDataset(url, storage_options=options, cache_dir=tmp_path / "cache")
    loader = ms.StreamingDataLoader(dataset, batch_size=16, num_workers=workers)
    uploaded.make(tmp_path / "other", count=90, chunks=3)
    manifest = (tmp_path / "other" / version_key(1)).read_bytes()
    open_store(url, options).put(version_key(1), manifest)
    if workers:  # who opens it anew sees that it is another
        with pytest.raises(errors.MillstreamError, match="no longer the dataset that was opened"):
            list(loader)
    else:  # who has it open reads on: its chunks are still there
        assert len(read(loader)) == uploaded.COUNT
