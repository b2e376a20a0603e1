"""Compressed datasets are read as others are, near and far, and opened once an epoch a rank."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kills import tree
from remote import Dataset
from torch.utils.data import DataLoader

import millstream as ms
from millstream.cache import Cache
from millstream.errors import CorruptData
from millstream.format import ChunkView
from millstream.reading.sparse import EXTRA_BYTES
from millstream.reading.verify import check_bytes
from millstream.store import LocalStore
from millstream.versions import load_version

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")

HOW = ["zstd", "zstd/frame", "zstd/chunk"]
WORDS = [f"word{n:03}" for n in range(90)]
ROWS = 1_500


def text(i: int) -> str:
    return " ".join(random.Random(i).choices(WORDS, k=9 + i % 9))


def record(i: int) -> dict[str, Any]:
    """Columns, a blob, and an array that is a group of its own."""
    vector, ragged = np.full(8, i // 100, "<f4"), np.full(i % 4, i, "<i8")
    return {"id": i, "text": text(i), "vector": vector, "ragged": ragged}


def same(one: dict[str, Any], i: int) -> bool:
    return all(np.array_equal(one[key], value) for key, value in record(i).items())


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str | None, Path]:
    root = tmp_path_factory.mktemp("data")
    made = {how: root / f"{n}" for n, how in enumerate([None, *HOW])}
    for how, folder in made.items():
        ms.optimize(
            record, range(ROWS), folder, compression=how, chunk_bytes="60kB", num_workers=0,
            verbose=False,
        )  # fmt: skip
    return made


def opened_at_most(folder: Path) -> int:
    """The bytes that all filters of all chunks hold."""
    table = load_version(LocalStore(folder)).manifest.chunks
    total = 0
    for number in range(len(table)):
        content = (folder / "chunks" / table.name(number)).read_bytes()
        layout = ChunkView(memoryview(content), "c").layout
        if layout.body is not None:
            total += layout.body.raw
            continue
        total += sum(layout.rows * c.itemsize for c in layout.columns if c.filters)
        total += sum(group.raw or 0 for group in layout.groups if group.filters)
        total += sum(column.nbytes for column in layout.tokens if column.filters)
    return total


@pytest.mark.parametrize("how", HOW)
def test_by_every_road_the_samples_are_the_same(folders: dict[str | None, Path], how: str) -> None:
    before = tree(folders[how])
    dataset = ms.StreamingDataset(folders[how])
    rows = [0, 700, -1, ROWS - 3]
    assert all(same(dataset[i], i % ROWS) for i in rows)
    assert all(same(one, i % ROWS) for one, i in zip(dataset[rows], rows, strict=True))
    assert all(same(one, i) for i, one in enumerate(dataset[5:900], 5))
    assert all(same(one, i) for i, one in enumerate(dataset))
    batches = list(dataset.batches(64))
    assert np.concatenate([batch["id"] for batch in batches]).tolist() == list(range(ROWS))
    assert [text for b in batches for text in b["text"]] == [text(i) for i in range(ROWS)]
    part = ms.StreamingDataset(folders[how], fields=["id", "vector"])
    assert [row["id"] for row in part] == list(range(ROWS))
    # A dataset that is near is only read: its chunks are neither replaced nor removed.
    assert tree(folders[how]) == before


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("workers", [0, 3])
def test_a_rank_opens_each_byte_once_an_epoch(
    folders: dict[str | None, Path], how: str, workers: int, shuffle: bool
) -> None:
    dataset = ms.StreamingDataset(folders[how], shuffle=shuffle)
    loader = ms.StreamingDataLoader(
        dataset, batch_size=32, num_workers=workers, collate_fn=lambda batch: batch
    )
    seen = [row["id"] for batch in loader for row in batch]
    assert sorted(seen) == list(range(ROWS))
    assert loader.stats().opened_bytes == opened_at_most(folders[how])


def test_what_is_not_compressed_opens_nothing(folders: dict[str | None, Path]) -> None:
    dataset = ms.StreamingDataset(folders[None], fields=["id", "text"])
    loader = ms.StreamingDataLoader(dataset, batch_size=32)
    assert sum(len(batch["id"]) for batch in loader) == ROWS
    assert loader.stats().opened_bytes == 0


@pytest.mark.parametrize(
    ("how", "start"),
    [("zstd", "threads"), ("zstd/frame", "spawn"), ("zstd", "fork"), ("zstd/chunk", "fork")],
)
def test_however_workers_are_started(folders: dict[str | None, Path], how: str, start: str) -> None:
    dataset = ms.StreamingDataset(folders[how], shuffle=True, fields=["id", "text"])
    loader: ms.StreamingDataLoader | DataLoader[Any]
    if start == "threads":
        loader = ms.StreamingDataLoader(dataset, batch_size=50, num_workers=3, workers="threads")
    else:
        loader = DataLoader(
            dataset,  # type: ignore[arg-type]
            batch_size=50, num_workers=2, multiprocessing_context=start,
        )  # fmt: skip
    seen = [
        (i, text)
        for batch in loader
        for i, text in zip(batch["id"].tolist(), batch["text"], strict=True)
    ]
    assert sorted(seen) == [(i, text(i)) for i in range(ROWS)]


def test_tokens_of_a_page_are_opened_once(tmp_path: Path) -> None:
    ms.optimize(
        lambda i: np.arange(i, i + 400, dtype=np.uint16) // 7, range(300), tmp_path / "d",
        item_loader=ms.TokensLoader(), chunk_size=40_000, compression="zstd", num_workers=0,
        verbose=False,
    )  # fmt: skip
    dataset = ms.StreamingDataset(
        tmp_path / "d", item_loader=ms.TokensLoader(block_size=50), shuffle=True
    )
    loader = ms.StreamingDataLoader(dataset, batch_size=16, num_workers=2)
    assert sum(len(batch) for batch in loader) == 300 * 400 // 50
    assert loader.stats().opened_bytes == opened_at_most(tmp_path / "d") == 300 * 400 * 2


@pytest.mark.parametrize("how", HOW)
def test_verify_finds_nothing_wrong_and_what_is(
    folders: dict[str | None, Path], tmp_path: Path, how: str
) -> None:
    manifest = load_version(LocalStore(folders[how])).manifest
    store = LocalStore(folders[how])
    assert not any(one.findings for one in check_bytes(store, manifest, threads=2))
    other = tmp_path / "d"
    (other / "chunks").mkdir(parents=True)
    for path in (folders[how] / "chunks").iterdir():
        content = bytearray(path.read_bytes())
        content[-9] ^= 4
        (other / "chunks" / path.name).write_bytes(content)
    found = list(check_bytes(LocalStore(other), manifest, threads=2))
    assert all(one.findings for one in found)
    assert {f.problem for one in found for f in one.findings} == {"does not match its checksum"}


@pytest.mark.parametrize("how", HOW)
def test_a_bad_byte_names_the_dataset_the_chunk_and_rows(
    folders: dict[str | None, Path], tmp_path: Path, how: str
) -> None:
    import shutil

    shutil.copytree(folders[how], tmp_path / "d")
    for path in (tmp_path / "d/chunks").iterdir():
        content = bytearray(path.read_bytes())
        content[-9] ^= 4
        path.write_bytes(content)
    dataset = ms.StreamingDataset(tmp_path / "d")
    named = rf"^{tmp_path}/d: chunk [0-9a-f]{{64}}.*does not match its checksum"
    by_row = lambda: [dataset[row] for row in range(len(dataset))]  # noqa: E731
    for read in (lambda: list(dataset), lambda: dataset[:], by_row):
        with pytest.raises(CorruptData, match=named):
            read()


# Far away -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=HOW)
def far(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Dataset]]:
    folder = tmp_path_factory.mktemp("far") / "d"
    samples = [record(i) for i in range(ROWS)]
    yield request.param, Dataset(folder, samples, chunk_bytes="60KB", compression=request.param)


def test_far_rows_are_the_same_by_ranges_and_out_of_the_cache(
    far: tuple[str, Dataset], tmp_path: Path
) -> None:
    _, made = far
    rows = [3, 1_499, 40, 700, 41, 3]
    for limit in (10, 10_000_000):  # nothing fits, or all does
        chunks = made.chunks(Cache(tmp_path / f"{limit}", limit))
        assert made.read(chunks, rows) == made.expected(rows)
        assert made.read(chunks.random_access, rows) == made.expected(rows)
        chunks.close()


def test_a_far_row_takes_little_more_than_itself(far: tuple[str, Dataset], tmp_path: Path) -> None:
    how, made = far
    for row in (0, 777, 1_499):
        chunks = made.chunks(Cache(tmp_path / f"{row}", 10)).random_access
        rounds = count_rounds(chunks, made)
        assert made.read(chunks, [row]) == made.expected([row])
        assert len(rounds) == 2  # the lead, and then all that the row needs, at once
        beyond = sum(stop - start for _, start, stop in made.store.requests[1:])
        if how == "zstd":
            assert beyond <= EXTRA_BYTES
        if how == "zstd/chunk":
            sizes = {made.table.name(n): int(s) for n, s in enumerate(made.table.sizes)}
            (key,) = {key for key, _, _ in made.store.requests}
            assert sum(b - a for _, a, b in made.store.requests) == sizes[key[len("chunks/") :]]


def count_rounds(chunks: Any, made: Dataset) -> list[int]:
    """Grows by one for each call to the store, which may have many requests."""
    made.store.requests.clear()
    rounds: list[int] = []
    remote = chunks._chunks.origin._remote
    ranges = remote.ranges
    remote.ranges = lambda asks: rounds.append(len(asks)) or ranges(asks)
    return rounds


def test_one_far_column_is_read_without_the_others(
    far: tuple[str, Dataset], tmp_path: Path
) -> None:
    how, made = far
    chunks = made.chunks(Cache(tmp_path, 10)).random_access
    made.store.requests.clear()
    rows = list(range(ROWS))
    assert made.read(chunks, rows, [0]) == made.expected(rows, [0])
    if how != "zstd/chunk":
        leads = int(made.table.lead.sum())
        assert made.store.nbytes <= leads + 8 * ROWS


@pytest.mark.parametrize("how", HOW)
def test_through_the_cache_a_rank_opens_each_byte_once_too(
    folders: dict[str | None, Path], tmp_path: Path, how: str
) -> None:
    dataset = ms.StreamingDataset(
        f"local:{folders[how]}", cache_dir=tmp_path, shuffle=True, fields=["id", "text"]
    )
    assert dataset[5]["text"] == text(5)
    loader = ms.StreamingDataLoader(dataset, batch_size=32, num_workers=2)
    seen = [
        (i, found)
        for batch in loader
        for i, found in zip(batch["id"].tolist(), batch["text"], strict=True)
    ]
    assert sorted(seen) == [(i, text(i)) for i in range(ROWS)]
    most = opened_at_most(folders[how])
    assert 0 < loader.stats().opened_bytes <= most
