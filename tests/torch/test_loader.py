"""StreamingDataLoader and plain DataLoaders: every sample once, and on from any batch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from strategies import Point
from torch.utils.data import DataLoader, IterableDataset, default_collate

import millstream as ms
from millstream import errors

pytestmark = [
    pytest.mark.timeout(200),
    # torch's own workers are forked, and it says so on Python 3.12 and later.
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
    # More workers than cores is what some of these tests are about.
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),
]
COUNT = 203


def make(i: int) -> dict[str, Any]:
    return {
        "id": i,
        "x": i / 3,
        "even": i % 2 == 0,
        "name": f"n{i}",
        "raw": bytes([i % 256]),
        "v": np.arange(4, dtype=np.float32) * i,
        "big": np.arange(2, dtype=">i4") + i,
        "t": torch.full((2, 2), i, dtype=torch.bfloat16),
        "where": Point(np.float32(i), (i, [i])),
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("data") / "d"
    ms.optimize(make, range(COUNT), place, num_workers=0, chunk_bytes="6KB", verbose=False)
    return place


def dataset(folder: Path, **options: Any) -> ms.StreamingDataset:
    return ms.StreamingDataset(folder, shuffle=True, fields=["id"], **options)


def ids(batches: Any) -> list[int]:
    return [i for batch in batches for i in batch["id"].tolist()]


def test_it_is_a_dataloader(folder: Path) -> None:
    loader = ms.StreamingDataLoader(ms.StreamingDataset(folder), batch_size=10)
    assert isinstance(loader, DataLoader)
    assert isinstance(loader.dataset, IterableDataset)
    assert loader.batch_size == 10
    assert len(loader) == 21


def test_a_batch_is_what_default_collate_makes(folder: Path) -> None:
    ds = ms.StreamingDataset(folder)
    batch = next(iter(ms.StreamingDataLoader(ds, batch_size=16)))
    samples = ds[:16]
    for sample in samples:  # the one dtype that default_collate does not take
        sample["big"] = sample["big"].astype("i4")
    expected = default_collate(samples)
    assert batch.keys() == expected.keys()
    for key in ("id", "x", "even", "v", "big", "t"):
        assert batch[key].dtype == expected[key].dtype
        assert torch.equal(batch[key], expected[key])
    assert batch["name"] == expected["name"]
    assert batch["raw"] == expected["raw"]
    assert type(batch["where"]).__name__ == "Point"
    assert torch.equal(batch["where"].x, expected["where"].x)
    assert torch.equal(batch["where"].y[1][0], expected["where"].y[1][0])


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("drop", [False, True])
def test_every_sample_once_for_any_workers(folder: Path, workers: int, drop: bool) -> None:
    loader = ms.StreamingDataLoader(
        dataset(folder, drop_last=drop), batch_size=16, num_workers=workers
    )
    first, second = ids(loader), ids(loader)
    expected = [s["id"] for s in dataset(folder)]
    assert first == expected[: 192 if drop else COUNT]
    assert second != first
    assert len(loader) == (12 if drop else 13)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("stop", [0, 1, 6, 12, 13])
def test_on_from_any_batch(folder: Path, workers: int, stop: int) -> None:
    def loader(batch_size: int, workers: int) -> ms.StreamingDataLoader:
        return ms.StreamingDataLoader(dataset(folder), batch_size=batch_size, num_workers=workers)

    undisturbed = loader(16, 0)
    whole = ids(undisturbed) + ids(undisturbed)
    first = loader(16, workers)
    batches: Iterator[Any] = iter(first)
    read = ids([next(batches) for _ in range(stop)])
    saved = json.loads(json.dumps(first.state_dict()))
    assert len(json.dumps(saved)) < 1_000
    for size, others in ((16, 0), (7, 2)):
        second = loader(size, others)
        second.load_state_dict(saved)
        joined = read + ids(second)
        assert joined == whole[: len(joined)]
        # A state at the end of an epoch goes on with the next one.
        assert len(joined) == (2 * COUNT if stop == 13 else COUNT)


def test_epochs(folder: Path) -> None:
    loader = ms.StreamingDataLoader(dataset(folder), batch_size=50)
    first = ids(loader)
    next(iter(loader))  # a loop left early does not go on
    third = ids(loader)
    loader.set_epoch(0)
    assert ids(loader) == first != third
    fresh = ms.StreamingDataLoader(dataset(folder), batch_size=50)
    fresh.set_epoch(2)
    assert ids(fresh) == third


def test_a_state_of_something_else_is_refused(folder: Path, tmp_path: Path) -> None:
    saved = ms.StreamingDataLoader(dataset(folder)).state_dict()
    with pytest.raises(errors.StateMismatch, match="seed"):
        ms.StreamingDataLoader(dataset(folder, seed=7)).load_state_dict(saved)
    with pytest.raises(errors.StateMismatch, match="shuffle"):
        other = ms.StreamingDataset(folder)
        ms.StreamingDataLoader(other).load_state_dict(saved)
    ms.optimize(make, range(9), tmp_path / "e", num_workers=0, verbose=False)
    with pytest.raises(errors.StateMismatch, match="version"):
        ms.StreamingDataLoader(dataset(tmp_path / "e")).load_state_dict(saved)
    with pytest.raises(errors.UsageError):
        ms.StreamingDataLoader(dataset(folder)).load_state_dict({"epoch": 1})


def test_lanes_of_a_state_are_kept_on_other_ranks(folder: Path) -> None:
    saved = ms.StreamingDataLoader(dataset(folder), rank=0, ranks=2).state_dict()
    later = ms.StreamingDataLoader(dataset(folder), rank=0, ranks=40, drop_last=False)
    later.load_state_dict(saved)
    assert later.state_dict()["order"]["lanes"] == saved["order"]["lanes"]


def test_ranks_share_an_epoch(folder: Path) -> None:
    for drop in (False, True):
        loaders = [
            ms.StreamingDataLoader(
                dataset(folder), batch_size=5, drop_last=drop, rank=rank, ranks=3
            )
            for rank in range(3)
        ]
        counts = [len(ids(loader)) for loader in loaders]
        assert counts == ([65] * 3 if drop else [68, 68, 67])
        assert len({i for loader in loaders for i in _epoch0(loader)}) == sum(counts)


def _epoch0(loader: ms.StreamingDataLoader) -> list[int]:
    loader.set_epoch(0)
    return ids(loader)


def test_transforms_and_collate_functions(folder: Path) -> None:
    def draw(sample: Any, rng: Any) -> Any:
        return {"id": sample["id"], "n": int(rng.integers(1 << 40))}

    runs = []
    for workers in (0, 2):
        ds = dataset(folder, transform=draw)
        loader = ms.StreamingDataLoader(ds, batch_size=20, num_workers=workers)
        runs.append([n for batch in loader for n in batch["n"].tolist()])
    assert runs[0] == runs[1]
    loader = ms.StreamingDataLoader(dataset(folder), batch_size=100, collate_fn=len)
    assert list(loader) == [100, 100, 3]


def test_arguments_that_make_no_sense(folder: Path) -> None:
    for options in (
        {"sampler": [1]},
        {"batch_sampler": [[1]]},
        {"batch_size": 0},
        {"shuffle": False},
        {"rank": 1},
        {"rank": 3, "ranks": 3},
    ):
        with pytest.raises(errors.UsageError):
            ms.StreamingDataLoader(dataset(folder), **options)
    ragged = ms.StreamingDataset(folder, transform=None)
    assert next(iter(ms.StreamingDataLoader(ragged, batch_size=2)))["id"].tolist() == [0, 1]


def test_what_has_no_batch_is_said(tmp_path: Path) -> None:
    ms.optimize(np.ones, range(1, 9), tmp_path / "d", num_workers=0, verbose=False)
    with pytest.raises(errors.UsageError, match="collate_fn"):
        next(iter(ms.StreamingDataLoader(ms.StreamingDataset(tmp_path / "d"), batch_size=4)))


@pytest.mark.parametrize("context", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("workers", [0, 2])
def test_under_a_plain_dataloader(folder: Path, workers: int, context: str) -> None:
    loader: DataLoader[Any] = DataLoader(
        dataset(folder),  # type: ignore[arg-type]
        batch_size=10,
        num_workers=workers,
        multiprocessing_context=context if workers else None,
    )
    assert sorted(ids(loader)) == list(range(COUNT))
