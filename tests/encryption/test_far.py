"""Encrypted datasets that lie far away: few requests, and ciphertext in the cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import uploaded
from encryption.kinds import aes
from servers.faultproxy import FaultProxy
from servers.seaweedfs import SeaweedFS
from torch.utils.data import DataLoader

import millstream as ms
from millstream.cache import Cache
from millstream.format import read_header
from millstream.reading.dataset import stream_of
from millstream.reading.sparse import EXTRA_BYTES

COUNT, CHUNKS, SECRET = 240, 8, b"what is seen by nobody"
ROW_BYTES = 40_000


def sample(i: int) -> dict[str, Any]:
    return {"image": SECRET * (ROW_BYTES // len(SECRET)) + b"%d" % i, "label": i}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    found = {}
    for level in ("sample", "chunk"):
        found[level] = tmp_path_factory.mktemp(level) / "d"
        ms.optimize(
            sample, range(COUNT), found[level], chunk_size=COUNT // CHUNKS,
            encryption=aes(level=level), num_workers=0, verbose=False,
        )  # fmt: skip
    return found


levels = pytest.mark.parametrize("level", ["sample", "chunk"])


def far(folder: Path, cache: Path, **options: Any) -> ms.StreamingDataset:
    return ms.StreamingDataset(
        f"local:{folder}", shuffle=True, encryption=aes(), cache_dir=cache, **options
    )


def check(batches: Any) -> None:
    labels = []
    for batch in batches:
        for label, image in zip(batch["label"].tolist(), batch["image"], strict=True):
            assert image == sample(label)["image"]
            labels.append(label)
    assert sorted(labels) == list(range(COUNT))


def shows(folder: Path) -> bool:
    return any(SECRET in path.read_bytes() for path in folder.rglob("*") if path.is_file())


@levels
@pytest.mark.parametrize("workers", [0, 2])
def test_the_cache_holds_ciphertext(
    folders: dict[str, Path], tmp_path: Path, level: str, workers: int
) -> None:
    loader = ms.StreamingDataLoader(
        far(folders[level], tmp_path), batch_size=16, num_workers=workers
    )
    for _ in range(2):
        check(loader)
    assert loader.coverage().exact
    nbytes = sum(path.stat().st_size for path in (folders[level] / "chunks").iterdir())
    assert Cache(tmp_path, 1 << 40).usage() == nbytes
    assert not shows(tmp_path)


@levels
def test_what_is_evicted_comes_again(folders: dict[str, Path], tmp_path: Path, level: str) -> None:
    dataset = far(folders[level], tmp_path, max_cache_size="3MB", lanes=1, shuffle_window=60)
    loader = ms.StreamingDataLoader(dataset, batch_size=16, num_workers=1)
    for _ in range(2):
        check(loader)
    assert Cache(tmp_path, 1 << 40).usage() <= 3_000_000
    assert not shows(tmp_path)


@levels
def test_under_a_plain_loader(folders: dict[str, Path], tmp_path: Path, level: str) -> None:
    for method in ("fork", "spawn"):
        dataset = far(folders[level], tmp_path)
        check(DataLoader(dataset, batch_size=16, num_workers=2, multiprocessing_context=method))


def test_a_row_of_a_bucket_takes_two_requests(
    folders: dict[str, Path],
    seaweedfs: SeaweedFS,
    s3_proxy: FaultProxy,
    prefix: str,
    tmp_path: Path,
) -> None:
    url = f"s3://millstream/{prefix}"
    uploaded.upload(folders["sample"], url, seaweedfs.options())
    dataset = ms.StreamingDataset(
        url, storage_options=seaweedfs.options(endpoint=s3_proxy.url), encryption=aes(),
        cache_dir=tmp_path,
    )  # fmt: skip
    table = stream_of(dataset).source.manifest.chunks
    for chunk in (0, 3, 5):
        row, lead = chunk * (COUNT // CHUNKS) + 11, int(table.lead[chunk])
        s3_proxy.reset()
        assert dataset[row] == sample(row)
        assert s3_proxy.tally().requests <= 2
        assert s3_proxy.tally().bytes_out <= ROW_BYTES + EXTRA_BYTES + lead
        s3_proxy.reset()
        assert dataset[row + 1] == sample(row + 1)
        assert s3_proxy.tally().requests == 1
    assert Cache(tmp_path, 1).entries() == []


def test_a_bucket_is_written_and_read(seaweedfs: SeaweedFS, prefix: str, tmp_path: Path) -> None:
    url, options = f"s3://millstream/{prefix}", seaweedfs.options()
    for level in ("sample", "chunk"):
        place = f"{url}/{level}"
        ms.optimize(
            sample, range(20), place, encryption=aes(level=level), num_workers=2,
            chunk_size=7, storage_options=options, verbose=False,
        )  # fmt: skip
        dataset = ms.StreamingDataset(
            place, encryption=aes(), storage_options=options, cache_dir=tmp_path
        )
        assert list(dataset) == [sample(i) for i in range(20)]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_rank_decrypts_each_byte_once(
    folders: dict[str, Path], tmp_path: Path, workers: int
) -> None:
    def body_bytes(path: Path) -> int:
        body = read_header(memoryview(path.read_bytes())).layout.body
        return 0 if body is None else body.raw

    dataset = far(folders["chunk"], tmp_path)
    loader = ms.StreamingDataLoader(dataset, batch_size=16, num_workers=workers)
    check(loader)
    raw = sum(map(body_bytes, (folders["chunk"] / "chunks").iterdir()))
    assert loader.stats().opened_bytes == raw > 0


def test_one_column_of_whole_chunks_comes_through_the_cache(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    """It cannot be had without the rest, so that is fetched once for all processes and epochs."""
    dataset = far(folders["chunk"], tmp_path, fields=["label"])
    loader = ms.StreamingDataLoader(dataset, batch_size=16, num_workers=2)
    for _ in range(2):
        assert sorted(int(n) for batch in loader for n in batch["label"]) == list(range(COUNT))
    nbytes = sum(path.stat().st_size for path in (folders["chunk"] / "chunks").iterdir())
    stats = loader.stats()
    assert (stats.fetched_chunks, stats.fetched_bytes) == (CHUNKS, nbytes)
