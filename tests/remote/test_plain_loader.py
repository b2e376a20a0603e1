"""Datasets in buckets under a plain DataLoader, however it starts its workers; and refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from servers.seaweedfs import SeaweedFS
from torch.utils.data import DataLoader

import millstream as ms
from millstream import errors
from millstream.store import LocalStore, open_store

pytestmark = [
    pytest.mark.timeout(200),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),
]
COUNT = 300


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("data") / "d"
    ms.optimize(
        lambda i: {"id": i, "raw": bytes([i % 251]) * 2_000}, range(COUNT), place,
        chunk_size=40, num_workers=0, verbose=False,
    )  # fmt: skip
    return place


def uploaded(folder: Path, url: str, options: dict[str, str]) -> str:
    store, local = open_store(url, options), LocalStore(folder)
    for found in local.list(""):
        store.put_file(found.key, local.path(found.key))
    return url


def ids(batches: Any) -> list[int]:
    return [i for batch in batches for i in batch["id"].tolist()]


@pytest.mark.parametrize("context", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("workers", [1, 3])
def test_under_a_plain_dataloader(
    folder: Path, tmp_path: Path, prefix: str, seaweedfs: SeaweedFS, workers: int, context: str
) -> None:
    options = seaweedfs.options()
    url = uploaded(folder, f"s3://millstream/{prefix}", options)
    dataset = ms.StreamingDataset(
        url, storage_options=options, shuffle=True, cache_dir=tmp_path, fields=["id"]
    )
    loader: DataLoader[Any] = DataLoader(
        dataset,  # type: ignore[arg-type]
        batch_size=10, num_workers=workers, multiprocessing_context=context,
    )  # fmt: skip
    assert sorted(ids(loader)) == list(range(COUNT))


def test_what_is_wrong_with_a_place_is_one_clear_error(
    tmp_path: Path, prefix: str, seaweedfs: SeaweedFS
) -> None:
    options = seaweedfs.options()
    with pytest.raises(errors.DatasetNotFound, match=prefix):
        ms.StreamingDataset(
            f"s3://millstream/{prefix}", storage_options=options, cache_dir=tmp_path
        )
    wrong = {**options, "aws_secret_access_key": "not-this-one"}
    with pytest.raises(errors.AccessDenied) as caught:
        ms.StreamingDataset(f"s3://millstream/{prefix}", storage_options=wrong, cache_dir=tmp_path)
    assert "not-this-one" not in str(caught.value)
