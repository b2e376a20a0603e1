"""Files in buckets and on servers: what is asked for, and what happens when that goes wrong."""

from __future__ import annotations

import os
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from servers.azure import Azurite
from servers.faultproxy import FaultProxy
from servers.faults import Reset, Truncate, refusal, slow_down
from servers.fixtures import HUB_TOKEN
from servers.gcs import GCS
from servers.http import HTTPServer
from servers.hub import Hub
from servers.seaweedfs import SeaweedFS
from trees import COUNT, Pairs, content, flat, make

import millstream as ms
from millstream import errors
from millstream.cache import Cache
from millstream.reading.fetching.client import our_fetcher
from millstream.store import Store, open_store

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]
URL = "s3://millstream/raw-files"
# Faults are noticed, and given up, soon enough for a test.
QUICK = {"stall_seconds": 1.0}
Open = Callable[..., ms.StreamingRawDataset]


def upload(root: Path, store: Store) -> None:
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        store.put_file(path.relative_to(root).as_posix(), path)


@pytest.fixture(scope="session")
def on_s3(root: Path, files: dict[str, bytes], seaweedfs: SeaweedFS) -> Store:
    store = open_store(URL, seaweedfs.options())
    upload(root, store)
    return store


@pytest.fixture(scope="session")
def few(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    """Another folder, of few files, and their contents."""
    place = tmp_path_factory.mktemp("few") / "tree"
    return place, make(place, 60)


@pytest.fixture
def open_s3(on_s3: Store, s3_proxy: FaultProxy, seaweedfs: SeaweedFS, tmp_path: Path) -> Open:
    """Opens the files through the proxy, with a cache of the test's own."""
    options = {**seaweedfs.options(endpoint=s3_proxy.url), **QUICK}

    def opened(kind: type[ms.StreamingRawDataset] = ms.StreamingRawDataset, **given: Any) -> Any:
        told = {**options, **given.pop("storage_options", {})}
        arguments = {"cache_dir": tmp_path / "cache", "shuffle": True, **given}
        return kind(URL, storage_options=told, **arguments)

    return opened


def asked(proxy: FaultProxy) -> Counter[str]:
    """How often each file was asked for, all of it or some."""
    marker = "/raw-files/"
    gets = [one.key for one in proxy.tally().log if one.method == "GET" and marker in one.key]
    return Counter(key.partition(marker)[2] for key in gets)


def loader(dataset: Any, **options: Any) -> ms.StreamingDataLoader:
    return ms.StreamingDataLoader(dataset, **{"batch_size": 16, **options})


# Requests ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 2])
def test_each_file_is_asked_for_once_and_never_again(
    open_s3: Open, s3_proxy: FaultProxy, root: Path, files: dict[str, bytes], workers: int
) -> None:
    near = loader(ms.StreamingRawDataset(root, shuffle=True))
    expected = [flat(near), flat(near)]
    dataset = open_s3()
    assert asked(s3_proxy) == Counter()  # but for listings
    assert s3_proxy.tally().requests <= 2 * 10  # folders, each in a page
    some = loader(dataset, num_workers=workers, persistent_workers=workers > 0)
    assert flat(some) == expected[0]
    assert some.coverage().exact
    assert asked(s3_proxy) == Counter(dict.fromkeys(files, 1))
    stats = some.stats()
    assert (stats.fetched_chunks, stats.fetched_bytes) == (COUNT, sum(map(len, files.values())))
    assert stats.ranged_requests == 0
    s3_proxy.reset()
    assert flat(some) == expected[1]
    assert s3_proxy.tally().requests == 0
    assert flat(loader(open_s3())) == expected[0]  # another job of this machine
    assert asked(s3_proxy) == Counter()


@pytest.mark.parametrize("shuffle", [False, True])
def test_ranks_ask_for_their_own_files_only(
    open_s3: Open, s3_proxy: FaultProxy, files: dict[str, bytes], tmp_path: Path, shuffle: bool
) -> None:
    came: list[bytes] = []
    for rank in range(3):
        dataset = open_s3(shuffle=shuffle, cache_dir=tmp_path / f"rank-{rank}", subsample=1.0)
        some = loader(dataset, rank=rank, ranks=3, drop_last=False)
        s3_proxy.reset()
        mine = flat(some)
        assert some.coverage().exact
        keys = {key for key, content in files.items() if content in set(mine)}
        found = asked(s3_proxy)
        assert keys <= found.keys()
        if not shuffle:  # else it goes ahead into the next epoch, which has others
            assert found == Counter(dict.fromkeys(keys, 1))
        came += mine
        del some, dataset
    assert Counter(came) == Counter(files.values())


@pytest.mark.parametrize("workers", [0, 2])
def test_a_cache_smaller_than_the_files_is_never_exceeded(
    open_s3: Open, s3_proxy: FaultProxy, files: dict[str, bytes], tmp_path: Path, workers: int
) -> None:
    limit = sum(map(len, files.values())) // 4
    some = loader(open_s3(max_cache_size=limit), num_workers=workers)
    cache = Cache(tmp_path / "cache", limit)
    s3_proxy.reset()
    for _ in range(3):
        came = []
        for batch in some:
            came += batch
            assert cache.usage() <= limit
        assert Counter(came) == Counter(files.values())
        assert some.coverage().exact
    # Once an epoch, and some ahead of the next; workers may be ahead of what is prefetched.
    assert sum(asked(s3_proxy).values()) <= 4 * COUNT


def test_without_a_cache_files_go_through_memory(
    open_s3: Open, s3_proxy: FaultProxy, files: dict[str, bytes], tmp_path: Path
) -> None:
    some = loader(open_s3(max_cache_size=1), num_workers=2)
    s3_proxy.reset()
    for _ in range(2):
        assert Counter(flat(some)) == Counter(files.values())
    assert asked(s3_proxy) == Counter(dict.fromkeys(files, 2))
    assert some.stats().ranged_requests == 2 * COUNT
    assert Cache(tmp_path / "cache", 1).entries() == []


@pytest.mark.parametrize("workers", [0, 2])
def test_past_the_cache_each_file_is_asked_for_once_an_epoch(
    open_s3: Open, s3_proxy: FaultProxy, files: dict[str, bytes], tmp_path: Path, workers: int
) -> None:
    dataset = open_s3(cache_files=False)
    some = loader(dataset, num_workers=workers, persistent_workers=workers > 0)
    for _ in range(3):
        assert Counter(flat(some)) == Counter(files.values())
        assert some.coverage().exact
    # And once ahead, in the next epoch.
    assert {3, 4} >= set(asked(s3_proxy).values())
    assert some.stats().fetched_chunks == some.stats().opened_chunks == 0
    assert some.stats().ranged_bytes == 3 * sum(map(len, files.values()))
    assert dataset[5] == list(files.values())[5]
    assert not (tmp_path / "cache").exists()


def test_indexing_brings_one_file(
    open_s3: Open, s3_proxy: FaultProxy, files: dict[str, bytes]
) -> None:
    dataset, keys = open_s3(), list(files)
    s3_proxy.reset()
    assert dataset[7] == dataset[7] == files[keys[7]]
    assert asked(s3_proxy) == Counter({keys[7]: 1})
    assert dataset[[9, 7, 9, -1]] == [files[keys[n]] for n in (9, 7, 9, -1)]
    assert asked(s3_proxy) == Counter({keys[n]: 1 for n in (7, 9, COUNT - 1)})


def test_empty_files_cost_nothing(
    seaweedfs: SeaweedFS, s3_proxy: FaultProxy, prefix: str, tmp_path: Path
) -> None:
    url = f"s3://millstream/{prefix}"
    store = open_store(url, seaweedfs.options())
    for name, sample in (("a", b""), ("b", b"content"), ("c", b"")):
        store.put(name, sample)
    options = seaweedfs.options(endpoint=s3_proxy.url)
    dataset = ms.StreamingRawDataset(url, cache_dir=tmp_path, storage_options=options)
    s3_proxy.reset()
    assert list(dataset) == [b"", b"content", b""]
    assert s3_proxy.tally().requests == 1


@pytest.mark.parametrize("workers", [0, 2])
def test_groups_are_fetched_file_by_file(
    open_s3: Open, s3_proxy: FaultProxy, files: dict[str, bytes], workers: int
) -> None:
    dataset, contents = open_s3(Pairs), list(files.values())
    s3_proxy.reset()
    pairs = [
        pair for batch in loader(dataset, num_workers=workers) for pair in zip(*batch, strict=True)
    ]
    assert Counter(pairs) == Counter((contents[n], contents[n - 1]) for n in range(1, COUNT, 2))
    assert asked(s3_proxy) == Counter(dict.fromkeys(files, 1))


def test_a_mixture_asks_for_each_file_once(
    open_s3: Open, s3_proxy: FaultProxy, files: dict[str, bytes]
) -> None:
    parts = ms.train_test_split(open_s3(), [0.3, 0.7])
    s3_proxy.reset()
    mixed = loader(ms.CombinedStreamingDataset(parts), num_workers=1)
    assert Counter(flat(mixed)) == Counter(files.values())
    assert asked(s3_proxy) == Counter(dict.fromkeys(files, 1))


def test_under_a_plain_torch_loader(open_s3: Open, files: dict[str, bytes]) -> None:
    shared = torch.utils.data.DataLoader(open_s3(), batch_size=8, num_workers=2)  # forked
    assert Counter(flat(shared)) == Counter(files.values())


# Other places -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["gs", "azure", "hf"])
def test_other_places_give_the_same(
    request: pytest.FixtureRequest, few: tuple[Path, dict[str, bytes]], tmp_path: Path, kind: str
) -> None:
    root, files = few
    options: Mapping[str, Any]
    if kind == "hf":
        hub_root, hub = (request.getfixturevalue(name) for name in ("hub_root", "hub"))
        assert isinstance(hub, Hub)
        shutil.copytree(root, hub_root / "org" / "raw" / "files", dirs_exist_ok=True)
        url, options = "hf://datasets/org/raw/files", {"endpoint": hub.url, "token": HUB_TOKEN}
    else:
        server = request.getfixturevalue({"gs": "gcs", "azure": "azurite"}[kind])
        assert isinstance(server, GCS | Azurite)
        url, options = f"{kind}://millstream/raw-files", server.options()
        upload(root, open_store(url, options))
    dataset = ms.StreamingRawDataset(url, cache_dir=tmp_path, storage_options=options)
    some = loader(dataset, num_workers=2)
    assert flat(some) == list(files.values())
    assert some.stats().fetched_chunks == len(files)


class Known:
    """Finds the files that it was told."""

    def __init__(self, sizes: dict[str, int]) -> None:
        self._sizes = sizes

    def discover_files(self, input_dir: str, storage_options: object) -> list[ms.FileMetadata]:
        return [
            ms.FileMetadata(path=f"{input_dir}/{key}", size=size)
            for key, size in self._sizes.items()
        ]


def test_a_web_server_needs_to_be_told_what_it_has(
    root: Path, files: dict[str, bytes], http_root: Path, http_server: HTTPServer, tmp_path: Path
) -> None:
    shutil.copytree(root, http_root / "raw", dirs_exist_ok=True)
    url = f"{http_server.url}/raw"
    with pytest.raises(errors.UnsupportedError, match="cannot list"):
        ms.StreamingRawDataset(url, cache_dir=tmp_path)
    sizes = {key: len(content) for key, content in reversed(files.items())}
    dataset = ms.StreamingRawDataset(url, cache_dir=tmp_path, indexer=Known(sizes))
    assert flat(loader(dataset)) == list(files.values())
    wrong = {**sizes, "a/0000.bin": 5}
    with pytest.raises(errors.ObjectChanged, match=r"a/0000\.bin was listed with 5 bytes"):
        list(ms.StreamingRawDataset(url, cache_dir=tmp_path, indexer=Known(wrong)))
    for found in ({}, {"../../else": 1}):
        with pytest.raises(errors.UsageError):
            list(ms.StreamingRawDataset(url, cache_dir=tmp_path, indexer=Known(found)))


# Faults -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("workers", "cached"), [(0, True), (2, True), (2, False)])
@pytest.mark.parametrize("damage", ["gone", "rewritten", "grown"])
def test_a_file_that_changed_is_named_and_goes_on_when_it_is_back(
    few: tuple[Path, dict[str, bytes]], seaweedfs: SeaweedFS, prefix: str, tmp_path: Path,
    damage: str, workers: int, cached: bool,
) -> None:  # fmt: skip
    root, files = few
    url, options = f"s3://millstream/{prefix}", seaweedfs.options()
    store = open_store(url, options)
    upload(root, store)
    dataset = ms.StreamingRawDataset(url, cache_dir=tmp_path, storage_options=options, shuffle=True)
    key = "a/0042.bin"
    if damage == "gone":
        store.delete(key)
    else:
        store.put(key, content(42)[::-1] if damage == "rewritten" else content(42) + b"more")
    kind = errors.ObjectNotFound if damage == "gone" else errors.ObjectChanged
    some = loader(dataset, num_workers=workers)
    with pytest.raises(kind, match=rf"{prefix}.*a/0042\.bin") as caught:
        list(some)
    assert "open the dataset anew" in str(caught.value)
    store.put(key, content(42))
    assert Counter(flat(some)) == Counter(files.values())


def test_passing_faults_are_ridden_out(
    open_s3: Open, s3_proxy: FaultProxy, files: dict[str, bytes]
) -> None:
    dataset, _ = ms.train_test_split(open_s3(), [0.3, 0.7])
    some = loader(dataset, num_workers=2)
    s3_proxy.do(
        slow_down(path=r"\.bin", probability=0.1),
        Reset(after=500, path=r"\.bin", probability=0.1),
        Truncate(after=100, path=r"\.bin", probability=0.1),
    )
    came = flat(some)
    assert some.coverage().exact
    assert len(set(came)) == len(came) == len(dataset)
    assert set(came) <= set(files.values())
    assert sum(s3_proxy.tally().faults.values()) > 5


def test_a_refusal_is_one_clear_error(open_s3: Open, s3_proxy: FaultProxy) -> None:
    some = loader(open_s3(), num_workers=2)
    s3_proxy.do(refusal(403, "AccessDenied", path=r"\.bin", skip=30))
    with pytest.raises(errors.AccessDenied, match="storage_options"):
        list(some)
    s3_proxy.do()
    with pytest.raises(errors.AccessDenied):
        open_s3(storage_options={"aws_secret_access_key": "not-the-secret"})


def started() -> set[int]:
    """The processes that this one has started to run our code."""
    found = psutil.Process().children()
    return {child.pid for child in found if "millstream.execution" in " ".join(child.cmdline())}


def test_a_killed_worker_is_an_error_and_the_next_epoch_is_whole(
    open_s3: Open, files: dict[str, bytes]
) -> None:
    some = loader(open_s3(), num_workers=2, batch_size=4)
    before = started()  # the fetcher among them
    batches = iter(some)
    next(batches)
    victim = min(started() - before)
    os.kill(victim, signal.SIGKILL)
    with pytest.raises(errors.WorkerDied, match=str(victim)):
        list(batches)
    assert Counter(flat(some)) == Counter(files.values())


@pytest.mark.parametrize("cached", [True, False])
def test_a_killed_fetcher_is_replaced(
    open_s3: Open, files: dict[str, bytes], caplog: pytest.LogCaptureFixture, cached: bool
) -> None:
    some = loader(open_s3(cache_files=cached), batch_size=4)
    batches = iter(some)
    came = next(batches)
    os.kill(our_fetcher().process.pid, signal.SIGKILL)
    assert Counter([*came, *flat(batches)]) == Counter(files.values())
    assert "another is started" in caplog.text
