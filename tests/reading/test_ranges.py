"""Rows by ranges, past the cache: how many requests and bytes they take, and how much memory."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from remote import Dataset

from millstream.cache import Cache
from millstream.errors import CorruptData
from millstream.format import ChunkTable
from millstream.reading import private
from millstream.reading.chunks import MappedChunks
from millstream.reading.private import REQUEST_BYTES
from millstream.reading.sparse import EXTRA_BYTES, PrivateChunk

LARGE = 150_000


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Two groups of blobs and a small column; then each chunk needs a lead, and two blobs a row."""

    def image(i: int) -> dict[str, Any]:
        noise = random.Random(i).randbytes(LARGE)
        return {"image": noise, "label": i, "boxes": np.full((i % 9, 4), i, "<f8")}

    folder = tmp_path_factory.mktemp("images") / "d"
    return Dataset(folder, [image(i) for i in range(60)], chunk_bytes="4MB")


@pytest.fixture(scope="module")
def columns(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Columns that are too large for the lead."""
    made = [{"a": np.full(3_000, i, "<f4"), "b": np.full(900, i), "c": i} for i in range(400)]
    return Dataset(tmp_path_factory.mktemp("columns") / "d", made, chunk_bytes="4MB")


def beyond_the_leads(made: Dataset) -> tuple[int, int]:
    """Requests and bytes beyond the first request for each chunk; checks that this is the lead."""
    leads = {made.table.name(chunk): int(lead) for chunk, lead in enumerate(made.table.lead)}
    seen, rest = set(), []
    for key, start, stop in made.store.requests:
        name = key.removeprefix("chunks/")
        if name not in seen:
            assert (start, stop) == (0, leads[name])
            seen.add(name)
        else:
            rest.append(stop - start)
    return len(rest), sum(rest)


def row_bytes(made: Dataset, row: int) -> int:
    values = made.expected([row])
    blobs = sum(len(some) for value in values if isinstance(value, list) for some in _flat(value))
    return blobs + sum(len(value[2]) for value in values if isinstance(value, tuple))


def _flat(value: Any) -> list[bytes]:
    return [some[2] if isinstance(some, tuple) else some for some in value]


def test_a_row_takes_its_lead_its_blobs_and_little_more(images: Dataset, tmp_path: Path) -> None:
    for row in (0, 13, 59):
        images.store.requests.clear()
        chunks = images.chunks(Cache(tmp_path / str(row), 1 << 30))
        assert images.read(chunks.random_access, [row]) == images.expected([row])
        requests, nbytes = beyond_the_leads(images)
        assert requests == 2
        assert nbytes <= row_bytes(images, row) + 1_000
        assert images.read(chunks.random_access, [row]) == images.expected([row])
        assert beyond_the_leads(images) == (requests, nbytes)  # and nothing twice
        stats = chunks.stats
        assert (stats.ranged_requests, stats.fetched_chunks) == (3, 0)
        assert stats.ranged_bytes == images.store.nbytes


def test_a_row_of_large_columns_takes_a_request_a_column(columns: Dataset, tmp_path: Path) -> None:
    for row in (0, 77, 399):
        columns.store.requests.clear()
        chunks = columns.chunks(Cache(tmp_path / str(row), 0))
        assert columns.read(chunks, [row]) == columns.expected([row])
        requests, nbytes = beyond_the_leads(columns)
        assert requests <= 3
        assert nbytes <= row_bytes(columns, row) + EXTRA_BYTES


def test_one_field_leaves_the_others_where_they_are(images: Dataset, tmp_path: Path) -> None:
    images.store.requests.clear()
    label = 2
    chunks = images.chunks(Cache(tmp_path, 0))
    rows = list(range(60))
    assert images.read(chunks, rows, [label]) == images.expected(rows, [label])
    assert beyond_the_leads(images) == (0, 0)


@settings(max_examples=25)
@given(st.lists(st.lists(st.integers(0, 59), min_size=1, max_size=9), min_size=1, max_size=4))
def test_rows_cost_at_most_64_kib_each_beyond_their_bytes(
    images: Dataset, batches: list[list[int]]
) -> None:
    images.store.requests.clear()
    with tempfile.TemporaryDirectory() as place:
        chunks = images.chunks(Cache(Path(place), 0))
        for batch in batches:
            assert images.read(chunks, batch) == images.expected(batch)
    requests, nbytes = beyond_the_leads(images)
    read = {row for batch in batches for row in batch}
    slack = EXTRA_BYTES * sum(len(set(batch)) for batch in batches)
    # An array's blob has its rank and shape before its elements.
    assert nbytes <= sum(row_bytes(images, row) + 24 for row in read) + slack
    assert requests <= 2 * len(read)


def test_rows_side_by_side_come_in_one_request(images: Dataset, tmp_path: Path) -> None:
    images.store.requests.clear()
    image = 1
    rows = list(range(10))
    assert images.read(images.chunks(Cache(tmp_path, 0)), rows, [image])
    assert beyond_the_leads(images) == (1, 10 * LARGE)


def test_rows_near_one_another_come_in_one_request(tmp_path: Path) -> None:
    made = Dataset(tmp_path / "d", ["t" * 2_000] * 300, chunk_bytes="4MB")
    assert made.read(made.chunks(Cache(tmp_path, 0)), [280, 0, 1, 20, 25])
    assert beyond_the_leads(made) == (2, 26 * 2_000 + 2_000)


def test_a_chunk_that_has_cost_its_bytes_by_ranges_gets_a_place(
    images: Dataset, tmp_path: Path
) -> None:
    cache = Cache(tmp_path, int(images.table.sizes.max()))
    chunks = images.chunks(cache)
    chunks.views([(0, np.array([0]))], [])  # takes all the room
    first, size = int(images.table.rows[0]), int(images.table.sizes[1])
    costs = 0
    for row in range(first, first + int(images.table.rows[1])):
        before = chunks.stats
        assert images.read(chunks, [row]) == images.expected([row])
        assert (chunks.stats.opened_chunks == 2) == (costs >= size)
        costs += chunks.stats.ranged_bytes - before.ranged_bytes
        costs += REQUEST_BYTES * (chunks.stats.ranged_requests - before.ranged_requests)
    assert size <= costs < size + LARGE + 3 * REQUEST_BYTES
    assert [entry.name for entry in cache.entries() if entry.in_use] == [images.table.name(1)]


def test_private_memory_is_bounded(
    images: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(private, "MAX_BYTES", 1_000_000)
    chunks = images.chunks(Cache(tmp_path, 0))
    for row in random.Random(1).choices(range(60), k=80):
        assert images.read(chunks, [row]) == images.expected([row])
        assert chunks._private.nbytes <= 1_000_000 or len(chunks._private) == 1
    monkeypatch.setattr(private, "MAX_CHUNKS", 2)
    images.read(chunks, list(range(60)), [])
    assert len(chunks._private) <= 2


@pytest.mark.parametrize("lead", [0, 63, 64, 400, -1, 1 << 31])
def test_a_lead_that_is_too_short_is_an_error(columns: Dataset, lead: int) -> None:
    table, content = columns.table, columns.file(0).read_bytes()
    tables_end = MappedChunks(columns.local, table, verify=True).view(0).tables_end
    lead = tables_end - 1 if lead < 0 else lead
    leads = np.full(len(table), lead, np.uint32)
    wrong = ChunkTable(rows=table.rows, lead=leads, sizes=table.sizes, digests=table.digests)
    if lead >= tables_end:
        assert PrivateChunk(content, wrong, 0, verify=True).view.layout.rows
        return
    with pytest.raises(CorruptData, match=table.name(0)):
        PrivateChunk(content[:lead], wrong, 0, verify=True)


def test_a_short_answer_is_an_error(
    columns: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    get = columns.store.get
    monkeypatch.setattr(columns.store, "get", lambda key, span: get(key, span)[:-1])
    with pytest.raises(CorruptData, match="were asked for"):
        columns.read(columns.chunks(Cache(tmp_path, 0)), [0])
