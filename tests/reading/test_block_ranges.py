"""Blocks of what lies elsewhere: what they take, and that it is the same."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from datasets import chunk_files, flip
from documents import blocks_of, of_lengths, segments, write
from remote import CountingStore, Direct
from strategies import same

import millstream as ms
from millstream import TokensLoader
from millstream.cache import Cache
from millstream.errors import CorruptData
from millstream.reading.blocks import BlockItems, BlockReader
from millstream.reading.cached import CachedChunks
from millstream.reading.dataset import stream_of
from millstream.reading.sparse import EXTRA_BYTES
from millstream.store import LocalStore
from millstream.versions import load_version

SIZE = 2_049
LENGTHS = [90_000, 130_000, 5, 0, 299_000, 400_000, 77_777]


@pytest.fixture(scope="module")
def docs() -> list[np.ndarray]:
    return of_lengths(LENGTHS, "<u4")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, docs: list[np.ndarray]) -> Path:
    return write(tmp_path_factory.mktemp("tokens") / "d", docs, chunk_size=300_000)


class Far:
    """A reader of blocks here and there, whose requests are counted."""

    def __init__(self, folder: Path, cache: Path, limit: int = 100_000_000) -> None:
        self.manifest = load_version(LocalStore(folder)).manifest
        table = self.manifest.chunks
        self.store = CountingStore(LocalStore(folder))
        self.cache = Cache(cache, limit)
        self.chunks = CachedChunks(Direct(self.store, self.cache), table, self.cache, verify=True)
        loader = TokensLoader(SIZE, return_boundaries=True)
        items = BlockItems(manifest=self.manifest, loader=loader)
        near = self.chunks.random_access
        dtypes = [np.dtype("<i4"), np.dtype("<u4")]
        self.here_and_there: BlockReader = items.reader(near, near, dtypes)
        self.in_order: BlockReader = items.reader(self.chunks, near, dtypes)
        assert table.tokens is not None
        self.ends = np.cumsum(table.tokens.astype(np.int64))

    def straddling(self) -> list[int]:
        """The blocks that lie in two chunks."""
        return [int(end) // SIZE for end in self.ends[:-1] if end % SIZE]


def test_a_block_takes_two_requests_a_chunk(
    folder: Path, docs: list[np.ndarray], tmp_path: Path
) -> None:
    far, wanted = Far(folder, tmp_path), blocks_of(docs, SIZE)
    borders = segments(docs, SIZE).astype("<i4")
    for block in (20, 21, 250, *far.straddling()):
        far.store.requests.clear()
        (ids, tokens), taken = far.here_and_there.read(np.array([block]), [0, 1])
        assert same(tokens, wanted[[block]])
        assert same(ids, borders[[block]])
        assert taken.tolist() == [block]
        touched = {key for key, _, _ in far.store.requests}
        assert len(touched) <= 1 + (block in far.straddling())
        assert len(far.store.requests) <= 2 * len(touched)
        leads = sum(stop for _, start, stop in far.store.requests if start == 0)
        assert far.store.nbytes - leads <= SIZE * 4 + EXTRA_BYTES


def test_blocks_are_asked_for_in_two_rounds(
    folder: Path, docs: list[np.ndarray], tmp_path: Path
) -> None:
    far = Far(folder, tmp_path)
    blocks = np.array([block + n for block in far.straddling() for n in (0, -1)])
    (tokens,), _ = far.here_and_there.read(blocks, [1])
    assert same(tokens, blocks_of(docs, SIZE)[blocks])
    is_lead = [start == 0 for _, start, _ in far.store.requests]
    assert is_lead == sorted(is_lead, reverse=True)
    assert sum(is_lead) == len(far.ends)


def test_no_chunk_is_fetched_for_its_head(folder: Path, tmp_path: Path) -> None:
    far = Far(folder, tmp_path)
    block = far.straddling()[0]
    chunk = int(np.searchsorted(far.ends, block * SIZE, side="right"))
    far.in_order.read(np.array([block]), [1])
    fetched = Counter[str]()
    for key, start, stop in far.store.requests:
        fetched[key] += stop - start
    here, further = (f"chunks/{far.manifest.chunks.name(n)}" for n in (chunk, chunk + 1))
    assert fetched[here] == far.manifest.chunks.sizes[chunk]
    assert fetched[further] < 100_000 < far.manifest.chunks.sizes[chunk + 1]


@pytest.mark.parametrize("limit", ["100MB", "3MB"])
def test_an_epoch_through_the_cache(
    folder: Path, docs: list[np.ndarray], tmp_path: Path, limit: str
) -> None:
    loader = TokensLoader(SIZE, return_boundaries=True)
    dataset = ms.StreamingDataset(
        f"local:{folder}", item_loader=loader, shuffle=True, cache_dir=tmp_path,
        max_cache_size=limit,
    )  # fmt: skip
    wanted, borders = blocks_of(docs, SIZE), segments(docs, SIZE).astype("<i4")
    for workers in (0, 2):
        batches = ms.StreamingDataLoader(dataset, batch_size=16, num_workers=workers)
        plan = dataset.plan(batch_size=16)
        for step, batch in enumerate(batches):
            rows = plan.batch(step, 0)
            assert same(batch["tokens"].numpy(), wanted[rows])
            assert same(batch["segment_ids"].numpy(), borders[rows])
        assert batches.coverage().exact
    assert same(dataset[17]["tokens"], wanted[17])


def test_a_copy_that_went_bad_is_fetched_again(
    folder: Path, docs: list[np.ndarray], tmp_path: Path
) -> None:
    def read() -> np.ndarray:
        loader = TokensLoader(SIZE)
        dataset = ms.StreamingDataset(f"local:{folder}", item_loader=loader, cache_dir=tmp_path)
        found = np.concatenate(list(dataset.batches(50)))
        stats.append(stream_of(dataset).source.stats)
        return found

    stats: list[ms.reading.stats.ReadStats] = []
    assert same(read(), blocks_of(docs, SIZE))
    name = chunk_files(LocalStore(folder))[1].name
    (copy,) = [path for path in tmp_path.rglob("*") if path.is_file() and name in path.name]
    copy.chmod(0o600)
    flip(copy, copy.stat().st_size // 2)
    assert same(read(), blocks_of(docs, SIZE))
    assert [some.replaced_chunks for some in stats] == [0, 1]


def test_what_is_damaged_where_it_lies_is_an_error(docs: list[np.ndarray], tmp_path: Path) -> None:
    damaged = write(tmp_path / "d", docs, chunk_size=300_000)
    path = chunk_files(LocalStore(damaged))[1]
    flip(path, path.stat().st_size - 40)  # ten tokens before the end
    far = Far(damaged, tmp_path / "cache")
    block = (int(far.ends[1]) - 10) // SIZE
    with pytest.raises(CorruptData, match=f"chunk {path.name}"):
        far.here_and_there.read(np.array([block]), [1])
