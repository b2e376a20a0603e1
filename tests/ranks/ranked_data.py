"""What the ranks of tests read: one dataset of each kind, and samples as plain numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import millstream as ms

ROWS = {"a": 227, "b": 90}
KINDS = ("plain", "combined", "parallel", "tokens", "raw", "mixed")
# Of these a sample is the bytes of its number.
OF_BYTES = ("raw", "mixed")
TOKENS, BLOCK = 1_003, 7


def write(place: Path) -> Path:
    """Two datasets of numbered samples, one of numbered tokens, and numbers in files."""
    for name, rows in ROWS.items():
        ms.optimize(
            lambda i, name=name: {"from": name, "id": i},
            range(rows), place / name, chunk_size=20, num_workers=0, verbose=False,
        )  # fmt: skip
    ms.optimize(
        lambda i: np.arange(i, min(i + 59, TOKENS)),
        range(0, TOKENS, 59), place / "tokens", chunk_size=150, item_loader=ms.TokensLoader(),
        num_workers=0, verbose=False,
    )  # fmt: skip
    for number in range(ROWS["a"]):
        path = place / "raw" / f"of-{number % 5}" / f"{number:03}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"%d" % number)
    ms.optimize(
        lambda i: b"%d" % i,
        range(1_000, 1_000 + ROWS["b"]), place / "bytes", chunk_size=20,
        num_workers=0, verbose=False,
    )  # fmt: skip
    return place


def append(dataset: Path) -> None:
    """A further version, with one sample, document or file more."""
    options: dict[str, Any] = {"mode": "append", "num_workers": 0, "verbose": False}
    if dataset.name == "raw":
        (dataset / "of-3" / "3.txt").write_bytes(b"3")
    elif dataset.name == "tokens":
        loader = ms.TokensLoader()
        ms.optimize(lambda i: np.arange(i), [3], dataset, item_loader=loader, **options)
    else:
        ms.optimize(lambda i: {"from": dataset.name, "id": i}, [3], dataset, **options)


def opened(place: str | Path, kind: str = "plain", **options: Any) -> Any:
    """The dataset of a kind, shuffled."""
    options = {"shuffle": True, "shuffle_window": 64, **options}
    if kind in OF_BYTES:
        files = ms.StreamingRawDataset(Path(place) / "raw", **options)
        if kind == "raw":
            return files
        written = ms.StreamingDataset(Path(place) / "bytes", **options)
        return ms.CombinedStreamingDataset([files, written])
    a, b = (ms.StreamingDataset(Path(place) / name, **options) for name in ROWS)
    if kind == "combined":
        return ms.CombinedStreamingDataset([a, b])
    if kind == "parallel":
        return ms.ParallelStreamingDataset([a, b], length=140)
    if kind == "tokens":
        loader = ms.TokensLoader(block_size=BLOCK)
        return ms.StreamingDataset(Path(place) / "tokens", item_loader=loader, **options)
    return a


def numbers(batch: Any, kind: str = "plain") -> list[Any]:
    """The samples of a batch as numbers that name them."""
    if kind == "combined":
        named = zip(batch["from"], batch["id"].tolist(), strict=True)
        return [f"{name} {number}" for name, number in named]
    if kind == "parallel":
        pairs = zip(*(one["id"].tolist() for one in batch), strict=True)
        return [f"{first} {second}" for first, second in pairs]
    if kind == "tokens":
        return [int(block[0]) for block in batch]
    if kind in OF_BYTES:
        return [int(sample) for sample in batch]
    ids: list[int] = batch["id"].tolist()
    return ids


def named(sample: Any, kind: str) -> Any:
    """One sample as a number that names it."""
    if kind == "combined":
        return f"{sample['from']} {sample['id']}"
    if kind == "parallel":
        return f"{sample[0]['id']} {sample[1]['id']}"
    if kind == "tokens":
        return int(sample[0])
    return int(sample if kind in OF_BYTES else sample["id"])
