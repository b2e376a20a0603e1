"""What reading asks a bucket for, counted at the server."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import uploaded
from conftest import Open
from servers.faultproxy import FaultProxy
from servers.seaweedfs import SeaweedFS

import millstream as ms
from millstream.cache import Cache
from millstream.format import ChunkTable
from millstream.reading.dataset import stream_of
from millstream.reading.sparse import EXTRA_BYTES

WIDE_BYTES = 40_000
RANGE = re.compile(r"bytes=(\d+)-(\d+)")


def table_of(dataset: ms.StreamingDataset) -> ChunkTable:
    return stream_of(dataset).source.manifest.chunks


def asked(proxy: FaultProxy) -> list[tuple[str, int, int]]:
    """(chunk, start, stop) of each request for a chunk, in the order in which they came."""
    found = []
    for request in uploaded.chunk_requests(proxy.tally()):
        match = RANGE.fullmatch(request.range or "")
        assert match is not None, "a chunk is only ever read by ranges"
        found.append((Path(request.key).name, int(match[1]), int(match[2]) + 1))
    return found


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory, seaweedfs: SeaweedFS) -> str:
    """Chunks of more than a megabyte."""
    folder = tmp_path_factory.mktemp("wide") / "d"
    ms.optimize(
        lambda i: {**uploaded.sample(i), "image": bytes(WIDE_BYTES)}, range(300), folder,
        chunk_size=50, num_workers=0, verbose=False,
    )  # fmt: skip
    uploaded.upload(folder, "s3://millstream/wide", seaweedfs.options())
    return "s3://millstream/wide"


# A row here and there -------------------------------------------------------------------------


def test_a_row_takes_two_requests_and_its_neighbour_one(
    wide: str, seaweedfs: SeaweedFS, s3_proxy: FaultProxy, tmp_path: Path
) -> None:
    options = seaweedfs.options(endpoint=s3_proxy.url)
    dataset = ms.StreamingDataset(wide, storage_options=options, cache_dir=tmp_path)
    table = table_of(dataset)
    for chunk in (0, 3, 5):
        row, lead = 50 * chunk + 11, int(table.lead[chunk])
        s3_proxy.reset()
        assert dataset[row]["label"] == row
        assert len(asked(s3_proxy)) == s3_proxy.tally().requests <= 2
        assert s3_proxy.tally().bytes_out <= WIDE_BYTES + EXTRA_BYTES + lead
        s3_proxy.reset()
        assert dataset[row + 1]["label"] == row + 1
        ((_, start, stop),) = asked(s3_proxy)
        assert stop - start == WIDE_BYTES
        assert s3_proxy.tally().requests == 1
        assert dataset[row]["image"] == bytes(WIDE_BYTES)  # nothing twice
        assert s3_proxy.tally().requests == 1
    assert Cache(tmp_path, 1).entries() == []


def test_many_rows_are_read_in_two_rounds(open_s3: Open, s3_proxy: FaultProxy) -> None:
    dataset = open_s3()
    s3_proxy.reset()
    rows = list(range(3, uploaded.COUNT, 30))
    assert [sample["label"] for sample in dataset[rows]] == rows
    found = asked(s3_proxy)
    assert len(found) == 2 * uploaded.CHUNKS
    # All leads before all rows.
    assert {start for _, start, _ in found[: uploaded.CHUNKS]} == {0}
    assert all(start > 0 for _, start, _ in found[uploaded.CHUNKS :])
    assert s3_proxy.tally().max_in_flight > 1


# An epoch -------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 2])
def test_a_second_epoch_makes_no_request(open_s3: Open, s3_proxy: FaultProxy, workers: int) -> None:
    dataset = open_s3()
    loader = ms.StreamingDataLoader(
        dataset, batch_size=16, num_workers=workers, persistent_workers=workers > 0
    )
    s3_proxy.reset()
    expected = [uploaded.check(loader)]
    found = asked(s3_proxy)
    table = table_of(dataset)
    whole = {(table.name(n), 0, int(table.sizes[n])) for n in range(len(table))}
    assert whole <= set(found)
    # Beside the chunks themselves: what the first batches could not wait for.
    beside = [stop - start for name, start, stop in found if (name, start, stop) not in whole]
    assert sum(beside) <= uploaded.nbytes(dataset) / 8
    assert len([one for one in found if one in whole]) == uploaded.CHUNKS
    s3_proxy.reset()
    expected.append(uploaded.check(loader))
    assert asked(s3_proxy) == []
    # Nor does another job on this machine, but for the manifest.
    other = ms.StreamingDataLoader(open_s3(), batch_size=16)
    assert [uploaded.check(other) for _ in range(2)] == expected
    assert asked(s3_proxy) == []


@pytest.mark.parametrize("ranks", [1, 2, 4, 16, 20])
def test_a_first_batch_needs_few_heads(open_s3: Open, s3_proxy: FaultProxy, ranks: int) -> None:
    dataset = open_s3()
    leads = {
        (table_of(dataset).name(n), 0, int(lead)) for n, lead in enumerate(table_of(dataset).lead)
    }
    loader = ms.StreamingDataLoader(dataset, batch_size=4, rank=0, ranks=ranks)
    lanes = loader.state_dict()["order"]["lanes"]
    s3_proxy.reset()
    next(iter(loader))
    heads = [one for one in asked(s3_proxy) if one in leads]
    assert len(heads) == len(set(heads)) <= max(1, lanes // ranks)


def test_what_is_already_here_is_not_fetched_again(
    open_s3: Open, s3_proxy: FaultProxy, tmp_path: Path
) -> None:
    size = int(table_of(open_s3()).sizes.max())
    limit = 10 * size
    dataset = open_s3(max_cache_size=limit, shuffle=False)
    cache = Cache(tmp_path / "cache", limit)
    loader = ms.StreamingDataLoader(dataset, batch_size=16)
    s3_proxy.reset()
    for _ in range(2):
        for batch in loader:
            assert len(batch["label"])
            assert cache.usage() <= limit
        assert loader.coverage().exact
    fetched = [name for name, start, stop in asked(s3_proxy) if stop - start > size // 2]
    # And half of what fits, for the epoch that comes next.
    assert len(fetched) <= 2 * uploaded.CHUNKS + 5
    assert set(fetched) == {table_of(dataset).name(n) for n in range(uploaded.CHUNKS)}
    for at, name in enumerate(fetched):
        if name in fetched[:at]:  # it was evicted since, so many others have come
            last = at - fetched[:at][::-1].index(name)
            # Five, but for two: requests that are under way together arrive in any order.
            assert len(set(fetched[last:at])) >= 5 - 2


@pytest.mark.parametrize("workers", [0, 2])
def test_a_limit_holds_through_shuffled_epochs(open_s3: Open, tmp_path: Path, workers: int) -> None:
    size = int(table_of(open_s3()).sizes.max())
    limit = 7 * size
    loader = ms.StreamingDataLoader(
        open_s3(max_cache_size=limit), batch_size=16, num_workers=workers
    )
    cache = Cache(tmp_path / "cache", limit)
    for _ in range(2):
        labels = []
        for batch in loader:
            labels += batch["label"].tolist()
            assert cache.usage() <= limit
        assert sorted(labels) == list(range(uploaded.COUNT))
        assert loader.coverage().exact


# A column -------------------------------------------------------------------------------------


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("workers", [0, 2])
def test_labels_are_read_without_the_images(
    wide: str, seaweedfs: SeaweedFS, s3_proxy: FaultProxy, tmp_path: Path, shuffle: bool,
    workers: int,
) -> None:  # fmt: skip
    dataset = ms.StreamingDataset(
        wide, storage_options=seaweedfs.options(endpoint=s3_proxy.url), shuffle=shuffle,
        fields=["label"], cache_dir=tmp_path,
    )  # fmt: skip
    loader = ms.StreamingDataLoader(
        dataset, batch_size=16, num_workers=workers, persistent_workers=workers > 0
    )
    s3_proxy.reset()
    for _ in range(2):
        labels = [label for batch in loader for label in batch["label"].tolist()]
        assert sorted(labels) == list(range(300))
        assert loader.coverage().exact
        table = table_of(dataset)
        found = asked(s3_proxy)
        per_process = {(table.name(n), 0, int(table.lead[n])) for n in range(len(table))}
        # These columns are in the lead. A second epoch asks for nothing.
        assert set(found) <= per_process
        assert len(found) <= len(table) * max(1, workers)
    assert s3_proxy.tally().bytes_out < 300 * WIDE_BYTES / 20
    assert Cache(tmp_path, 1).entries() == []


def test_a_column_of_its_own_is_read_at_once(
    seaweedfs: SeaweedFS, s3_proxy: FaultProxy, tmp_path: Path
) -> None:
    url, options = "s3://millstream/columns", seaweedfs.options(endpoint=s3_proxy.url)

    ms.optimize(
        lambda i: {"image": bytes(20_000), "vector": np.full(500, i)}, range(200), tmp_path / "d",
        chunk_size=100, num_workers=0, verbose=False,
    )  # fmt: skip
    uploaded.upload(tmp_path / "d", url, options)
    dataset = ms.StreamingDataset(
        url, storage_options=options, shuffle=True, fields=["vector"], cache_dir=tmp_path
    )
    s3_proxy.reset()
    total = sum(int(sample["vector"].sum()) for sample in dataset)
    assert total == 500 * sum(range(200))
    # The lead and the column, of two chunks.
    assert len(asked(s3_proxy)) == 4
    assert s3_proxy.tally().bytes_out < 200 * 4_000 * 1.1
