"""Reading through the cache, and by ranges past it: right rows, counted requests."""

from __future__ import annotations

import random
import tempfile
from functools import partialmethod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from objects import ended_well, forked, local_descriptors, no_collector
from remote import Dataset
from strategies import rows

from millstream.cache import Cache
from millstream.errors import CorruptData, StorageError
from millstream.reading import cached
from millstream.reading.chunks import MappedChunks
from millstream.reading.stats import ReadStats


def sample(i: int) -> dict[str, Any]:
    return {"id": i, "text": f"{i} " * (i % 7), "r": np.arange(i % 4), "v": np.full(3, i, "<f4")}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    made = Dataset(tmp_path_factory.mktemp("data") / "d", [sample(i) for i in range(300)])
    assert len(made.table) > 8
    return made


@pytest.fixture
def dataset(data: Dataset) -> Dataset:
    data.store.requests.clear()
    return data


@settings(max_examples=30)
@given(rows(max_size=8), st.integers(0, 3_000), st.booleans(), st.booleans(), st.data())
def test_it_reads_what_is_there_whatever_the_cache_holds(
    samples: list[Any], limit: int, verify: bool, at_random: bool, data: st.DataObject
) -> None:
    samples = [some for some in samples if some is not None]
    if not samples:
        return
    with tempfile.TemporaryDirectory() as place:
        made = Dataset(Path(place) / "d", samples, chunk_bytes=None, chunk_size=3)
        chunks = made.chunks(Cache(Path(place), limit), verify=verify)
        source = chunks.random_access if at_random else chunks
        numbers, fields = st.integers(0, len(samples) - 1), st.sampled_from(made.fields or [0])
        for _ in range(5):
            wanted = data.draw(st.lists(numbers, max_size=6))
            some = sorted(data.draw(st.sets(fields))) if made.fields else []
            assert made.read(source, wanted, some) == made.expected(wanted, some)
        chunks.close()


# Through the cache ---------------------------------------------------------------------------


def test_each_chunk_is_fetched_once(dataset: Dataset, tmp_path: Path) -> None:
    chunks = dataset.chunks(Cache(tmp_path, 1 << 30))
    every = list(range(dataset.rows))
    for _ in range(2):
        assert dataset.read(chunks, every) == dataset.expected(every)
    total = int(dataset.table.sizes.sum())
    assert dataset.store.nbytes == total
    count = len(dataset.table)
    assert chunks.stats == ReadStats(opened_chunks=count)

    again = dataset.chunks(Cache(tmp_path, 1 << 30))
    assert dataset.read(again, every) == dataset.expected(every)
    assert dataset.store.nbytes == total
    assert (again.stats + chunks.stats).opened_chunks == 2 * count


def test_processes_and_two_datasets_share_a_folder(dataset: Dataset, tmp_path: Path) -> None:
    other = Dataset(tmp_path / "other", [{"n": i, "s": "x" * 300} for i in range(100)])
    every = list(range(dataset.rows))

    def read(seed: int) -> None:
        for made in (dataset, other):
            made.store.requests.clear()
        both = [(made, made.chunks(Cache(tmp_path, 1 << 30))) for made in (dataset, other)]
        for made, chunks in both:
            shuffled = random.Random(seed).sample(range(made.rows), made.rows)
            assert made.read(chunks, shuffled) == made.expected(shuffled)
        spent = sum((chunks.stats for _, chunks in both), start=ReadStats())
        fetched = {key for made in (dataset, other) for key, _, _ in made.store.requests}
        (tmp_path / f"spent{seed}").write_text(f"{len(fetched)} {spent.opened_chunks}")
        assert spent.ranged_requests == 0

    pids = [forked(lambda seed=seed: read(seed)) for seed in range(4)]
    assert [ended_well(pid) for pid in pids] == [True] * 4
    spent = [(tmp_path / f"spent{seed}").read_text().split() for seed in range(4)]
    count = len(dataset.table) + len(other.table)
    assert sum(int(fetched) for fetched, _ in spent) == count
    assert sum(int(opened) for _, opened in spent) == 4 * count
    assert dataset.read(dataset.chunks(Cache(tmp_path, 0)), every) == dataset.expected(every)


def test_leases_are_bounded_and_end(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cached, "MAX_LEASES", 3)
    cache = Cache(tmp_path, 1 << 30)
    with no_collector():
        before = local_descriptors()
        chunks = dataset.chunks(cache)
        for start in range(0, 300, 10):
            dataset.read(chunks, list(range(start, start + 10)))
            assert local_descriptors() <= before + 6  # one to lock and one to map
        assert sum(entry.in_use for entry in cache.entries()) == 3
        chunks.close()
        assert not any(entry.in_use for entry in cache.entries())
        assert local_descriptors() == before
        assert dataset.read(chunks, [7]) == dataset.expected([7])
        del chunks  # and who forgets to close it
        assert local_descriptors() == before


def test_a_local_dataset_keeps_few_files_open(tmp_path: Path) -> None:
    made = Dataset(tmp_path / "d", list(range(600)), chunk_bytes=None, chunk_size=1)
    with no_collector():
        before = local_descriptors()
        chunks = MappedChunks(made.local, made.table, verify=True)
        for start in range(0, 600, 10):
            made.read(chunks, list(range(start, start + 10)))
        assert local_descriptors() == before + 256


# Bytes that are bad ---------------------------------------------------------------------------


def damage(file: Path, at: int) -> None:
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("place", "is_open"),
    [("preamble", False), ("column", False), ("column", True), ("blob", False), ("blob", True)],
)
def test_a_copy_that_went_bad_is_replaced(
    dataset: Dataset, tmp_path: Path, place: str, is_open: bool
) -> None:
    cache, every = Cache(tmp_path, 1 << 30), list(range(dataset.rows))
    dataset.read(dataset.chunks(cache), every)
    dataset.store.requests.clear()
    chunks = dataset.chunks(cache)
    layout = (
        (chunks if is_open else dataset.chunks(cache)).views([(2, np.array([0]))], [])[0].layout
    )
    file = cache.path / "files" / dataset.table.name(2)
    body = file.stat().st_size - layout.body_bytes
    damage(
        file,
        {
            "preamble": 9,
            "column": body + layout.columns[0].data.offset,
            "blob": body + layout.groups[0].data.stop - 1,
        }[place],
    )
    assert dataset.read(chunks, every) == dataset.expected(every)
    assert chunks.stats.replaced_chunks == 1
    assert {key for key, _, _ in dataset.store.requests} == {f"chunks/{dataset.table.name(2)}"}
    assert file.read_bytes() == dataset.file(2).read_bytes()


@pytest.mark.parametrize("limit", [0, 1 << 30])
def test_a_bad_object_is_an_error_after_a_few_tries(tmp_path: Path, limit: int) -> None:
    made = Dataset(tmp_path / "d", [{"t": f"text {i}"} for i in range(5)])
    damage(made.file(0), made.file(0).read_bytes().index(b"text 3"))
    cache = Cache(tmp_path, limit)
    chunks = made.chunks(cache)
    with pytest.raises(CorruptData, match=made.table.name(0)) as caught:
        made.read(chunks, [3])
    if limit:
        assert len(made.store.requests) == 1
        assert cache.entries() == []
    else:
        assert "row 3" in str(caught.value)
        # The lead and the row, and three times more.
        assert len(made.store.requests) == 8
        assert made.read(chunks, [1, 2, 4])
        for _ in range(5):
            with pytest.raises(CorruptData):
                made.read(chunks, [3])
        # Once more each time: the store may have been mended since.
        assert len(made.store.requests) <= 32


def test_a_store_that_was_mended_is_read_though_a_bad_copy_is_at_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Cache, "lease", partialmethod(Cache.lease, verify=False))
    made = Dataset(tmp_path / "d", [{"t": f"text {i}"} for i in range(5)])
    good = made.file(0).read_bytes()
    damage(made.file(0), good.index(b"text 3"))
    cache = Cache(tmp_path / "c", 1 << 30)
    chunks = made.chunks(cache)
    for _ in range(3):
        bad = made.file(0).read_bytes()
        with pytest.raises(CorruptData, match=made.table.name(0)):
            made.read(chunks, [3])
        # What goes ahead has fetched it once more, before it was mended.
        (cache.path / "files" / made.table.name(0)).write_bytes(bad)
        made.file(0).write_bytes(good)
        assert made.read(chunks, [3]) == made.expected([3])
        chunks.close()
        cache.clear()
        made.file(0).write_bytes(bad)


@pytest.mark.parametrize("limit", [0, 1 << 30])
def test_a_byte_that_changes_on_the_way_is_asked_for_again(
    tmp_path: Path, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Dataset(tmp_path / "d", [{"t": f"text {i}"} for i in range(5)])
    get, flipped = made.store.get, []

    def flip(key: str, span: tuple[int, int] | None = None) -> bytes:
        content = get(key, span)
        if not flipped and b"text 3" in content:
            flipped.append(key)
            content = content.replace(b"text 3", b"test 3")
        return content

    monkeypatch.setattr(made.store, "get", flip)
    monkeypatch.setattr(Cache, "lease", partialmethod(Cache.lease, verify=False))
    chunks = made.chunks(Cache(tmp_path, limit))
    assert made.read(chunks, [3, 1]) == made.expected([3, 1])
    assert len(flipped) == 1


def test_a_chunk_that_is_missing_is_named(tmp_path: Path) -> None:
    made = Dataset(tmp_path / "d", ["text"])
    made.file(0).rename(tmp_path / "away")
    for limit in (0, 1 << 30):
        with pytest.raises(CorruptData, match=f"lists the chunk {made.table.name(0)}"):
            made.read(made.chunks(Cache(tmp_path, limit)), [0])


def test_a_store_that_fails_says_what_was_read(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def get(key: str, span: object = None) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(dataset.store, "get", get)
    for limit in (0, 1 << 30):
        with pytest.raises(StorageError, match=r"cannot read .*: Permission denied"):
            dataset.read(dataset.chunks(Cache(tmp_path, limit)), [0])
