"""Processes that read through one fetcher: who has it, who may ask it, and what ends it."""

from __future__ import annotations

import gc
import os
import pickle
import shutil
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
from objects import descriptors, ended_well, forked, no_collector
from scripts import start

import millstream as ms
from millstream import errors
from millstream.cache import Cache
from millstream.cache.locks import LockedFile
from millstream.execution import wire
from millstream.reading.dataset import stream_of
from millstream.reading.fetching import handshake
from millstream.reading.fetching.client import FetchedStore
from millstream.store import LocalStore, open_store

pytestmark = pytest.mark.timeout(120)
COUNT = 200


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("data") / "d"
    ms.optimize(
        lambda i: {"id": i, "raw": bytes([i % 251]) * 1_000}, range(COUNT), place,
        chunk_size=10, num_workers=0, verbose=False,
    )  # fmt: skip
    return place


def far(folder: Path, cache: Path, **options: Any) -> ms.StreamingDataset:
    return ms.StreamingDataset(f"local:{folder}", shuffle=True, cache_dir=cache, **options)


def place_of(dataset: ms.StreamingDataset) -> FetchedStore:
    place = stream_of(dataset).source.place
    assert isinstance(place, FetchedStore)
    return place


def fetchers(pid: int | None = None) -> list[psutil.Process]:
    return [
        child
        for child in psutil.Process(pid).children()
        if child.status() != psutil.STATUS_ZOMBIE
        and any("millstream.execution.child" in part for part in child.cmdline())
    ]


def kill_fetcher() -> None:
    (fetcher,) = fetchers()
    fetcher.kill()


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """Each test begins and ends without a fetcher, and opens no descriptor for good."""
    gc.collect()
    assert fetchers() == []
    before = descriptors()
    yield
    gc.collect()
    assert fetchers() == []
    assert descriptors() <= before  # fewer if tests before have left something to the collector


def ids(dataset: ms.StreamingDataset) -> list[int]:
    return sorted(sample["id"] for sample in dataset)


# Whose it is ----------------------------------------------------------------------------------


def test_all_datasets_of_a_process_have_one_which_ends_with_the_last(
    folder: Path, tmp_path: Path
) -> None:
    many = [far(folder, tmp_path / str(number)) for number in range(5)]
    (fetcher,) = fetchers()
    assert all(ids(dataset) == list(range(COUNT)) for dataset in many)
    assert fetchers() == [fetcher]
    del many[1:]
    gc.collect()
    assert fetchers() == [fetcher]


def test_twenty_that_are_given_up_in_the_middle_leave_nothing(folder: Path, tmp_path: Path) -> None:
    kept = far(folder, tmp_path)
    list(kept)
    gc.collect()
    before = descriptors()
    for _ in range(20):
        samples = iter(far(folder, tmp_path))
        assert next(samples)["raw"]
        del samples
        gc.collect()
        assert descriptors() <= before
    assert len(fetchers()) == 1


@pytest.mark.parametrize("workers", [0, 1])
def test_it_ends_with_the_last_reference(folder: Path, tmp_path: Path, workers: int) -> None:
    with no_collector():
        dataset = far(folder, tmp_path)
        loader = ms.StreamingDataLoader(dataset, batch_size=50, num_workers=workers)
        assert sum(len(batch["id"]) for batch in loader) == COUNT
        next(iter(loader))
        assert dataset[3]["id"] == 3
        assert len(fetchers()) == 1
        del dataset, loader
        assert fetchers() == []
        assert not any(entry.in_use for entry in Cache(tmp_path, 1 << 30).entries())


@pytest.mark.parametrize("opened", [False, True])
def test_a_forked_child_asks_that_of_its_parent(folder: Path, tmp_path: Path, opened: bool) -> None:
    dataset = far(folder, tmp_path)
    if opened:
        list(dataset)

    def read() -> None:
        assert ids(dataset) == list(range(COUNT))
        assert fetchers() == []

    pids = [forked(read) for _ in range(3)]
    assert [ended_well(pid) for pid in pids] == [True] * 3
    assert ids(dataset) == list(range(COUNT))
    assert place_of(dataset).fetched()[0] == COUNT / 10


def test_a_child_whose_parent_has_none_any_more_starts_its_own(
    folder: Path, tmp_path: Path
) -> None:
    dataset = far(folder, tmp_path)
    (fetcher,) = fetchers()

    def read() -> None:
        fetcher.kill()
        assert ids(dataset) == list(range(COUNT))
        (own,) = fetchers()
        assert own != fetcher

    assert ended_well(forked(read))
    assert ids(dataset) == list(range(COUNT))


def test_one_that_was_pickled_asks_the_same(folder: Path, tmp_path: Path) -> None:
    dataset = far(folder, tmp_path)
    copy = pickle.loads(pickle.dumps(dataset))
    (fetcher,) = fetchers()
    assert ids(copy) == ids(dataset) == list(range(COUNT))
    assert fetchers() == [fetcher]
    content = pickle.dumps(dataset)
    del dataset, copy
    gc.collect()
    assert fetchers() == []
    later = pickle.loads(content)  # perhaps on another day
    assert ids(later) == list(range(COUNT))


def test_threads_share_a_client(folder: Path, tmp_path: Path) -> None:
    place = place_of(far(folder, tmp_path))
    keys = [f"chunks/{path.name}" for path in (folder / "chunks").iterdir()]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda key: (place.get(key), key), keys * 5))
    assert all(content == (folder / key).read_bytes() for content, key in found)


# What ends it ---------------------------------------------------------------------------------


def test_one_that_dies_is_replaced(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = far(folder, tmp_path, max_cache_size=1)
    got = []
    for number, sample in enumerate(dataset):
        got.append(sample["id"])
        if number % 64 == 63:
            kill_fetcher()
    assert sorted(got) == list(range(COUNT))
    assert len(fetchers()) == 1


def test_one_that_dies_over_a_request_is_replaced_once(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    place = place_of(far(folder, tmp_path))
    send, receive, deaths = wire.send, wire.receive, [1]

    def suspend(connection: socket.socket, pieces: Any) -> None:
        if connection.family == socket.AF_INET and deaths[0]:
            (fetcher,) = fetchers()
            fetcher.suspend()
            os.waitpid(fetcher.pid, os.WUNTRACED)  # until it has stopped
        send(connection, pieces)

    def kill(connection: socket.socket, *more: Any) -> Any:
        if connection.family == socket.AF_INET and deaths[0]:
            deaths[0] -= 1
            kill_fetcher()
        return receive(connection, *more)

    assert place.get("latest") == b"1\n"
    monkeypatch.setattr(wire, "send", suspend)
    monkeypatch.setattr(wire, "receive", kill)
    assert place.get("latest") == b"1\n"
    assert [record.getMessage() for record in caplog.records] == [
        f"local:{folder}: the process that fetches has died; another is started"
    ]
    deaths[0] = 2
    with pytest.raises(errors.StorageError, match="so did the one before"):
        place.get("latest")
    assert deaths == [0]
    assert place.get("latest") == b"1\n"


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_goes_on_after_its_death_and_still_counts(
    folder: Path, tmp_path: Path, workers: int
) -> None:
    loader = ms.StreamingDataLoader(far(folder, tmp_path), batch_size=10, num_workers=workers)
    size = sum(path.stat().st_size for path in (folder / "chunks").iterdir())
    assert sum(len(batch["id"]) for batch in loader) == COUNT
    first = loader.stats()
    assert first.fetched_chunks == COUNT / 10
    kill_fetcher()
    shutil.rmtree(tmp_path / "millstream-cache" / "files")
    assert sum(len(batch["id"]) for batch in loader) == COUNT
    assert loader.coverage().exact
    again = loader.stats() - first
    # In one process what it has mapped is still there, and need not be fetched for it.
    assert (20 if workers else 0) <= again.fetched_chunks <= 20
    assert again.fetched_bytes <= size


def test_the_death_of_its_owner_ends_it(folder: Path, tmp_path: Path) -> None:
    owner = start(
        f"""
        import signal
        import millstream as ms
        dataset = ms.StreamingDataset("local:{folder}", cache_dir="{tmp_path}")
        samples = iter(dataset)
        next(samples)
        print("ready", flush=True)
        signal.pause()
        """
    )
    assert owner.stdout is not None and owner.stderr is not None
    with owner:
        assert owner.stdout.readline() == "ready\n"
        (fetcher,) = fetchers(owner.pid)
        owner.send_signal(signal.SIGKILL)
    assert psutil.wait_procs([fetcher], timeout=30)[1] == []
    # Its locks went with it.
    assert not any(entry.in_use for entry in Cache(tmp_path, 1 << 30).entries())


def test_what_is_fetched_ahead_ends_with_the_loop(folder: Path, tmp_path: Path) -> None:
    dataset = far(folder, tmp_path)
    samples = iter(dataset)
    first = next(samples)["id"]
    held = Cache(tmp_path, 1 << 30)
    del samples
    gc.collect()
    for entry in held.entries():
        lock = LockedFile(held.path / "files" / entry.name)
        if entry.name not in leased(dataset):
            lock.exclude()  # waits until the fetcher has let go of it
        lock.close()
    assert first in range(COUNT)


def leased(dataset: ms.StreamingDataset) -> set[str]:
    cached = stream_of(dataset).source._cached
    assert cached is not None
    return {copy.lease.name for copy in cached._copies.values()}


# Who may ask it -------------------------------------------------------------------------------


def test_who_does_not_know_the_token_is_refused(folder: Path, tmp_path: Path) -> None:
    place = place_of(far(folder, tmp_path))
    assert place._address is not None
    port, token = place._address
    assert handshake.connect((port, bytes(32))) is None
    with socket.create_connection(("127.0.0.1", port)) as stranger:
        stranger.sendall(bytes(64))
        stranger.shutdown(socket.SHUT_WR)
        got = b""
        while piece := stranger.recv(4_096):
            got += piece
        assert len(got) <= 64  # a challenge, and a proof for a challenge of ours
        assert token not in got
    right = handshake.connect((port, token))
    assert right is not None
    right.close()


def test_nothing_is_told_to_who_has_the_port_now(folder: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        told = []

        def listen() -> None:
            connection, _ = other.accept()
            with connection:
                connection.sendall(bytes(64))  # looks like a challenge and a proof
                while piece := connection.recv(4_096):
                    told.append(piece)

        thread = threading.Thread(target=listen)
        thread.start()
        token = os.urandom(32)
        store = LocalStore(folder, far=True)
        place = FetchedStore(store, tmp_path, 1 << 30, (other.getsockname()[1], token))
        assert place.get("latest") == (folder / "latest").read_bytes()
        thread.join(30)
        content = b"".join(told)
    assert len(content) <= 64
    assert token not in content
    assert str(folder).encode() not in content


def test_a_pickle_holds_what_was_given_and_not_what_was_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "found-secret")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "found-key")
    for options in ({"region": "eu-x"}, {"aws_secret_access_key": "given", "region": "eu-x"}):
        store = open_store("s3://bucket/a", options)
        place = FetchedStore(store, tmp_path, 1 << 30)
        content = pickle.dumps(place)
        assert b"found-secret" not in content and b"found-key" not in content
        assert (b"given" in content) == (len(options) == 2)
        assert "given" not in f"{place} {place!r}"
        copy = pickle.loads(content)
        assert copy.__reduce__()[1][1:] == place.__reduce__()[1][1:]
