"""Datasets on a network drive: read through the cache, within its budget, and only there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import millstream as ms
from millstream import errors
from millstream.cache import Cache

COUNT = 400


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("data") / "d"
    ms.optimize(
        lambda i: {"id": i, "raw": bytes([i % 251]) * 1_000}, range(COUNT), place,
        chunk_size=40, num_workers=0, verbose=False,
    )  # fmt: skip
    return place


def far(folder: Path, cache: Path, **options: Any) -> ms.StreamingDataset:
    return ms.StreamingDataset(f"local:{folder}", shuffle=True, cache_dir=cache, **options)


def sizes(folder: Path) -> int:
    return sum(path.stat().st_size for path in (folder / "chunks").iterdir())


def test_the_samples_are_those_of_the_folder(folder: Path, tmp_path: Path) -> None:
    near, distant = ms.StreamingDataset(folder, shuffle=True), far(folder, tmp_path)
    assert list(distant) == list(near)
    assert distant[-3:] == near[-3:]
    assert repr(distant).startswith(f"StreamingDataset('local:{folder}', 400 samples")
    assert Cache(tmp_path, 1 << 40).usage() == sizes(folder)


def test_a_folder_that_is_near_is_never_copied(folder: Path, tmp_path: Path) -> None:
    near = ms.StreamingDataset(folder, cache_dir=tmp_path / "cache")
    assert len(list(near)) == COUNT
    assert not (tmp_path / "cache").exists()


def test_a_row_here_and_there_fetches_no_chunk(folder: Path, tmp_path: Path) -> None:
    distant = far(folder, tmp_path)
    assert distant[7]["raw"] == bytes([7]) * 1_000
    assert [sample["id"] for sample in distant[[390, 100]]] == [390, 100]
    assert Cache(tmp_path, 1 << 40).entries() == []


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_fetches_each_chunk_once_and_the_next_nothing(
    folder: Path, tmp_path: Path, workers: int
) -> None:
    loader = ms.StreamingDataLoader(far(folder, tmp_path), batch_size=16, num_workers=workers)
    assert sum(len(batch["id"]) for batch in loader) == COUNT
    first = loader.stats()
    assert (first.fetched_chunks, first.fetched_bytes) == (10, sizes(folder))
    # Before the first chunk has arrived rows are read by ranges: nobody waits for a whole chunk.
    assert first.ranged_bytes < sizes(folder)
    assert sum(len(batch["id"]) for batch in loader) == COUNT
    assert loader.coverage().exact
    second = loader.stats() - first
    assert (second.fetched_chunks, second.fetched_bytes, second.ranged_requests) == (0, 0, 0)


@pytest.mark.parametrize("limit", [1, 50_000, 130_000])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_small_budget_holds_and_what_is_beyond_it_is_counted(
    folder: Path, tmp_path: Path, workers: int, limit: int
) -> None:
    dataset = far(folder, tmp_path, max_cache_size=limit, shuffle_window=200)
    loader = ms.StreamingDataLoader(dataset, batch_size=16, num_workers=workers)
    cache = Cache(tmp_path, limit)
    for epoch in range(2):
        got = []
        for batch in loader:
            got += batch["id"].tolist()
            assert cache.usage() <= limit
        assert sorted(got) == list(range(COUNT))
        assert loader.coverage().exact, epoch
    assert loader.stats().ranged_bytes > 0


def test_two_datasets_share_a_folder(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    ms.optimize(lambda i: {"id": -i}, range(50), other, chunk_size=9, num_workers=0, verbose=False)
    cache = tmp_path / "cache"
    streams = zip(far(folder, cache), far(other, cache), far(folder, cache, seed=5), strict=False)
    assert all(a["id"] >= 0 >= b["id"] for a, b, _ in streams)
    assert Cache(cache, 1 << 40).usage() <= sizes(folder) + sizes(other)
    assert sorted(sample["id"] for sample in far(folder, cache)) == list(range(COUNT))


def test_a_dataset_may_be_its_own_cache_folder(folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "d"
    ms.optimize(lambda i: i, range(100), place, chunk_size=9, num_workers=0, verbose=False)
    before = {path for path in place.rglob("*") if path.is_file()}
    assert sorted(far(place, place, max_cache_size=2_000)) == list(range(100))
    Cache(place, 1).clear()
    assert {path for path in before if path.is_file()} == before
    assert sorted(ms.StreamingDataset(place)) == list(range(100))


def test_arguments_and_folders_that_make_no_sense(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(errors.UsageError, match="max_cache_size is 'much'"):
        far(folder, tmp_path, max_cache_size="much")
    (tmp_path / "file").write_text("")
    with pytest.raises(errors.StorageError, match="cache_dir="):
        far(folder, tmp_path / "file")
    with pytest.raises(errors.DatasetNotFound):
        ms.StreamingDataset(f"local:{tmp_path}/nothing", cache_dir=tmp_path)
