"""Where users of LitData stumble: what they are told has the names of the call that they made."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import millstream as ld
from millstream.errors import SampleError, UsageError

pytestmark = pytest.mark.timeout(100)


@pytest.fixture
def numbers(tmp_path: Path) -> ld.StreamingDataset:
    place = tmp_path / "numbers"
    ld.optimize(fn=lambda i: i, inputs=list(range(100)), output_dir=place, chunk_bytes="64MB")
    return ld.StreamingDataset(place)


def test_a_small_dataset_is_told_in_small_units(numbers: ld.StreamingDataset) -> None:
    assert re.search(r", 100 samples, [0-9.]+ k?B in 1 chunk, version 1, ", repr(numbers))


def test_splits_are_called_splits(numbers: ld.StreamingDataset) -> None:
    with pytest.raises(UsageError, match=r"splits are \[0.5, 0.8\]"):
        ld.train_test_split(numbers, splits=[0.5, 0.8])


def test_arrays_that_were_written_as_samples_have_no_blocks(tmp_path: Path) -> None:
    """LitData's page on large files leaves item_loader out, and then reads such data in blocks."""

    def tokenize(path: str) -> Iterator[np.ndarray]:
        yield np.arange(len(path), dtype=np.uint16)

    inputs = ["one.parquet", "another.parquet"]
    ld.optimize(fn=tokenize, inputs=inputs, output_dir=tmp_path / "d", chunk_size=2049 * 8012)
    with pytest.raises(UsageError, match=r"or write it again with item_loader=TokensLoader\(\)"):
        ld.StreamingDataset(tmp_path / "d", item_loader=ld.TokensLoader(block_size=8))


def test_lists_of_tokens_are_told_what_to_become(tmp_path: Path) -> None:
    """Such as the tokenizers of Hugging Face give."""
    with pytest.raises(SampleError, match=r"np\.array\(ids, np\.uint16\)"):
        ld.optimize(
            fn=lambda text: [len(word) for word in text.split()], inputs=["a bc"],
            output_dir=tmp_path / "d", chunk_size=2049 * 8012, item_loader=ld.TokensLoader(),
        )  # fmt: skip
