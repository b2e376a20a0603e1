"""Chunks on their way into the cache: read as far as they have come, and no further."""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from held import PATIENCE, HeldStore, downloads
from objects import ended_well, forked
from remote import Dataset

from millstream.cache import Cache
from millstream.errors import CorruptData
from millstream.reading.cached import CachedChunks
from millstream.reading.fetching import arriving
from millstream.reading.fetching.downloads import Downloads

KIB = 1_024
ROW_BYTES = 4 * KIB


@pytest.fixture(autouse=True)
def small_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arriving, "RANGE_BYTES", 16 * KIB)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """One chunk of thirty images and their numbers: some eight ranges."""
    made = [{"id": i, "image": random.Random(i).randbytes(ROW_BYTES)} for i in range(30)]
    folder = tmp_path_factory.mktemp("data") / "d"
    return Dataset(folder, made, chunk_bytes=None, chunk_size=30)


@pytest.fixture
def store(data: Dataset) -> HeldStore:
    key = f"chunks/{data.table.name(0)}"
    return HeldStore({key: data.file(0).read_bytes()}, open=False)


@pytest.fixture
def made(store: HeldStore, tmp_path: Path) -> Iterator[Downloads]:
    with downloads(store, tmp_path, at_once=64, threads=64) as made:
        yield made


def reader(data: Dataset, made: Downloads) -> CachedChunks:
    return CachedChunks(made, data.table, made.cache, verify=True)


def answer(store: HeldStore, start: int, stop: int) -> None:
    """Lets the ranges come that these bytes lie in."""
    ((key, content),) = store.objects.items()
    for at in range(start // (16 * KIB) * 16 * KIB, stop, 16 * KIB):
        store.answer(key, (at, min(at + 16 * KIB, len(content))))


def test_a_row_waits_for_its_own_ranges_only(
    data: Dataset, store: HeldStore, made: Downloads
) -> None:
    chunks = reader(data, made)
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit(data.read, chunks, [29])
        store.await_requests(8)
        answer(store, 0, 1)  # the lead
        row = data.file(0).read_bytes().index(random.Random(29).randbytes(ROW_BYTES))
        answer(store, row, row + ROW_BYTES)
        assert read.result(PATIENCE) == data.expected([29])
        assert made.cache.entries() == []
        later = pool.submit(data.read, chunks, list(range(30)))
        store.answer_all()
        assert later.result(PATIENCE) == data.expected(list(range(30)))
    assert len(store.asked) == len(set(store.asked)) == 8
    assert (chunks.stats.opened_chunks, chunks.stats.ranged_requests) == (1, 0)
    assert chunks.stats.replaced_chunks == 0
    chunks.close()


def test_in_a_forked_child_it_can_still_be_read(
    data: Dataset, store: HeldStore, made: Downloads, tmp_path: Path
) -> None:
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit(data.read, (chunks := reader(data, made)), [0], [0])
        store.await_requests(8)
        answer(store, 0, 1)
        read.result(PATIENCE)
        name, size = data.table.name(0), int(data.table.sizes[0])
        lease = made.cache.arriving(name, size)
        assert lease is not None

        def child() -> None:  # where the lock of the lease is closed
            assert Cache(tmp_path, 1 << 30).is_current(lease)
            assert lease.content[:8] == b"MILLCHNK"

        assert ended_well(forked(child))
        lease.close()
        store.answer_all()
        made.fill([(chunks.origin.wanted(0), [(0, size)])])
        assert made.cache.is_current(lease)
        chunks.close()
        made.cache.clear()
        assert not made.cache.is_current(lease)


def test_one_that_was_given_up_is_fetched_anew(
    data: Dataset, store: HeldStore, made: Downloads
) -> None:
    """Its error is for who waited; who read a part before must not read zeros."""
    chunks, other = reader(data, made), reader(data, made)
    ((key, _),) = store.objects.items()
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit(data.read, chunks, [0], [0])
        store.await_requests(8)
        answer(store, 0, 1)
        assert read.result(PATIENCE) == data.expected([0], [0])
        store.errors[key] = CorruptData("it is cut")
        store.answer_all()
        with pytest.raises(CorruptData, match="it is cut"):
            data.read(other, [5])
        store.errors.clear()
        assert data.read(other, [5]) == data.expected([5])
        assert data.read(chunks, [5, 29]) == data.expected([5, 29])
    assert chunks.stats.replaced_chunks == 0
    chunks.close(), other.close()


def test_a_byte_that_changed_on_the_way_is_found_before_the_rest_is_there(
    data: Dataset, store: HeldStore, made: Downloads
) -> None:
    ((key, content),) = store.objects.items()
    row = content.index(random.Random(3).randbytes(ROW_BYTES))
    damaged = bytearray(content)
    damaged[row] ^= 1
    store.objects[key] = bytes(damaged)
    chunks = reader(data, made)
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit(data.read, chunks, [3])
        store.await_requests(8)
        answer(store, 0, row + ROW_BYTES)
        store.objects[key] = content  # the next time it is right
        store.answer_all()
        assert read.result(PATIENCE) == data.expected([3])
    assert chunks.stats.replaced_chunks == 1
    chunks.close()
