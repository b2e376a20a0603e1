"""What LitData 0.2.34 documents about reading, with nothing but the import changed."""

from __future__ import annotations

import importlib
import json
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from servers.azure import Azurite
from servers.gcs import GCS
from servers.seaweedfs import SeaweedFS

import millstream as ld
from millstream import (
    CombinedStreamingDataset,
    StreamingDataLoader,
    StreamingDataset,
    TokensLoader,
    optimize,
    train_test_split,
)
from millstream.cache import Cache
from millstream.streaming.cache import Dir

pytestmark = [
    pytest.mark.timeout(200),
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),
    pytest.mark.filterwarnings("ignore:pin_memory is True, but there is no accelerator"),
]
ROWS = 200


def make(index: int) -> dict[str, Any]:
    return {"index": index, "pixels": np.full((4, 4), index, np.float32)}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("data") / "my-data"
    optimize(fn=make, inputs=list(range(ROWS)), output_dir=place, chunk_size=25, num_workers=0)
    return place


@pytest.fixture(scope="module")
def on_s3(seaweedfs: SeaweedFS) -> tuple[str, dict[str, str]]:
    """A dataset in a bucket, and the options that the documentation has for one."""
    full = seaweedfs.options()
    options = {
        "AWS_ACCESS_KEY_ID": full["aws_access_key_id"],
        "AWS_SECRET_ACCESS_KEY": full["aws_secret_access_key"],
        "endpoint_url": full["endpoint_url"],
    }
    url = f"s3://millstream/litdata-{uuid.uuid4().hex[:12]}"
    optimize(
        fn=make, inputs=list(range(ROWS)), output_dir=url, chunk_size=25, num_workers=0,
        storage_options=options, verbose=False,
    )  # fmt: skip
    return url, options


def indices(batches: Any) -> list[int]:
    return [index for batch in batches for index in batch["index"].tolist()]


def test_s3(on_s3: tuple[str, Any], tmp_path: Path) -> None:
    url, options = on_s3
    dataset = StreamingDataset(url, shuffle=True, storage_options=options, cache_dir=tmp_path)
    loader = StreamingDataLoader(dataset, batch_size=64)
    assert sorted(indices(loader)) == list(range(ROWS))
    assert Cache(tmp_path, 1 << 40).entries()


def test_gcs(gcs: GCS, tmp_path: Path) -> None:
    url, more = "gs://millstream/litdata", gcs.options()
    optimize(fn=make, inputs=list(range(9)), output_dir=url, storage_options=more, verbose=False)
    options = {"project": "a-project", **more}
    dataset = ld.StreamingDataset(url, storage_options=options, cache_dir=tmp_path)
    assert dataset[4]["index"] == 4


def test_azure(azurite: Azurite, tmp_path: Path) -> None:
    url, more = "azure://millstream/litdata", azurite.options()
    optimize(fn=make, inputs=list(range(9)), output_dir=url, storage_options=more, verbose=False)
    options = {"account_url": more["endpoint"], "credential": more["account_key"]}
    dataset = ld.StreamingDataset(url, storage_options=options, cache_dir=tmp_path)
    assert dataset[4]["index"] == 4


def test_samples_without_the_whole(on_s3: tuple[str, Any], tmp_path: Path) -> None:
    url, options = on_s3
    dataset = StreamingDataset(url, storage_options=options, cache_dir=tmp_path)
    assert len(dataset) == ROWS
    assert dataset[42]["index"] == 42
    assert Cache(tmp_path, 1 << 40).entries() == []


@pytest.mark.parametrize("ranks", [2, 3])
def test_every_rank_gets_as_much_and_something_else(data: Path, ranks: int) -> None:
    train = StreamingDataset(data, shuffle=True, drop_last=True)
    shares = [
        indices(StreamingDataLoader(train, batch_size=8, rank=rank, ranks=ranks))
        for rank in range(ranks)
    ]
    assert len({len(share) for share in shares}) == 1
    every = [index for share in shares for index in share]
    assert len(every) == len(set(every)) >= ROWS - 8 * ranks
    val = StreamingDataset(data, shuffle=False, drop_last=False)
    assert indices(StreamingDataLoader(val, batch_size=8)) == list(range(ROWS))


def test_pause_and_resume(data: Path, tmp_path: Path) -> None:
    def loader() -> StreamingDataLoader:
        return StreamingDataLoader(
            StreamingDataset(data, shuffle=True), batch_size=8, num_workers=2
        )

    first, state = [], tmp_path / "dataloader_state.pt"
    before = loader()
    for step, batch in enumerate(before):
        first += batch["index"].tolist()
        if step == 9:
            torch.save(before.state_dict(), state)
            break
    del before
    after = loader()
    if state.is_file():
        after.load_state_dict(torch.load(state))
    assert sorted(first + indices(after)) == list(range(ROWS))


def test_a_mixture_of_tokens(tmp_path: Path) -> None:
    datasets = []
    for name, first in (("slim", 0), ("star", 50_000)):
        optimize(
            fn=lambda start: np.arange(start, start + 300),
            inputs=range(first, first + 12_000, 300),
            output_dir=tmp_path / name,
            item_loader=TokensLoader(),
            num_workers=0,
        )
        datasets.append(
            StreamingDataset(
                input_dir=tmp_path / name,
                item_loader=TokensLoader(block_size=20 + 1),
                shuffle=True,
                drop_last=True,
            )
        )
    weights = (0.693584, 0.306416)
    combined = CombinedStreamingDataset(
        datasets=datasets, seed=42, weights=weights, iterate_over_all=False
    )
    loader = StreamingDataLoader(combined, batch_size=8, pin_memory=True, num_workers=2)
    blocks = torch.cat(list(loader))
    assert blocks.shape[1] == 21
    assert bool((blocks[:, 1:] - blocks[:, :-1] == 1).all())
    share = float((blocks[:, 0] < 50_000).float().mean())
    assert share == pytest.approx(weights[0], abs=1 / len(blocks) + 0.005)


def test_split_and_subset(data: Path) -> None:
    dataset = StreamingDataset(data)
    parts = train_test_split(dataset, splits=[0.3, 0.2, 0.5])
    assert [len(part) for part in parts] == [60, 40, 100]
    assert sorted(sample["index"] for part in parts for sample in part) == list(range(ROWS))
    assert len(StreamingDataset(data, subsample=0.01)) == 2
    assert len(StreamingDataset(data, subsample=2.5)) == 500


class Resized(StreamingDataset):
    """A subclass with a __getitem__ of its own, as the documentation has it."""

    def __getitem__(self, index: Any) -> Any:
        image = super().__getitem__(index)
        return torch.nn.functional.interpolate(image[None].float(), (6, 6))[0]


@pytest.mark.parametrize("workers", [0, 2])
def test_own_transforms(tmp_path: Path, workers: int) -> None:
    optimize(
        fn=lambda i: torch.full((3, 9, 9), i, dtype=torch.uint8), inputs=range(12),
        output_dir=tmp_path / "d", num_workers=0,
    )  # fmt: skip
    loader = StreamingDataLoader(Resized(tmp_path / "d"), batch_size=4, num_workers=workers)
    assert [tuple(batch.shape) for batch in loader] == [(4, 3, 6, 6)] * 3
    doubled = StreamingDataset(tmp_path / "d", transform=lambda image: image * 2)
    assert int(doubled[3].max()) == 6


def test_profile(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    list(StreamingDataLoader(StreamingDataset(data), batch_size=8, profile_batches=5))
    events = json.loads(Path("result.json").read_text())["traceEvents"]
    assert {event["args"]["step"] for event in events if event["ph"] == "X"} == set(range(5))


def test_the_cache_is_limited_and_put_elsewhere(data: Path, tmp_path: Path) -> None:
    size = sum(path.stat().st_size for path in (data / "chunks").iterdir())
    cache = tmp_path / "cache"
    dataset = StreamingDataset(
        input_dir=Dir(path=str(cache), url=f"local:{data}"), max_cache_size=size // 2, shuffle=True
    )
    for _ in range(2):
        assert sorted(sample["index"] for sample in dataset) == list(range(ROWS))
        assert 0 < Cache(cache, 1 << 40).usage() <= size // 2
    StreamingDataset(input_dir=Dir(path=str(cache), url=f"local:{data}"), max_cache_size="10GB")


def test_a_network_drive(data: Path, tmp_path: Path) -> None:
    dataset = StreamingDataset(input_dir=f"local:{data}", cache_dir=tmp_path)
    assert indices(StreamingDataLoader(dataset, batch_size=8)) == list(range(ROWS))
    assert Cache(tmp_path, 1 << 40).entries()


def test_the_import_paths_are_there() -> None:
    for name, names in {
        "processing.functions": ["map", "merge_datasets", "optimize", "walk"],
        "streaming.cache": ["Dir"],
        "streaming.combined": ["CombinedStreamingDataset"],
        "streaming.dataloader": ["StreamingDataLoader"],
        "streaming.dataset": ["StreamingDataset"],
        "streaming.item_loader": ["TokensLoader"],
        "streaming.parallel": ["ParallelStreamingDataset"],
    }.items():
        module = importlib.import_module(f"millstream.{name}")
        assert module.__all__ == names
        assert all(getattr(module, n) is getattr(ld, n, Dir) for n in names)


def test_images_come_as_images(tmp_path: Path) -> None:
    optimize(
        fn=lambda i: {"image": Image.new("RGB", (5, 4), (i, i, i))}, inputs=range(3),
        output_dir=tmp_path / "d", num_workers=0,
    )  # fmt: skip
    assert StreamingDataset(tmp_path / "d")[2]["image"].size == (5, 4)
