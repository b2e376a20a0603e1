"""Random documents of tokens, and datasets of them."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

import millstream as ms
from millstream import TokensLoader

DTYPES = ["<u2", ">u2", "|u1", "|i1", "<i4", "<u4", "<i8", "<u8"]


def of_lengths(lengths: Sequence[int], dtype: str = "<u2") -> list[np.ndarray]:
    """Documents that count through all tokens, as far as the dtype goes."""
    tokens = np.arange(sum(lengths)).astype(dtype)
    return np.split(tokens, np.cumsum(lengths)[:-1])


@st.composite
def documents(
    draw: Callable[..., Any], most: int = 60, dtypes: Sequence[str] = tuple(DTYPES)
) -> list[np.ndarray]:
    """Some documents, of which some are empty."""
    lengths = draw(st.lists(st.integers(0, most), min_size=1, max_size=14))
    return of_lengths(lengths, draw(st.sampled_from(dtypes)))


def write(folder: Path, docs: Sequence[Any], **options: Any) -> Path:
    """A dataset of documents, one an input."""
    options = {"num_workers": 0, "verbose": False, **options}
    ms.optimize(docs.__getitem__, range(len(docs)), folder, item_loader=TokensLoader(), **options)
    return folder


def segments(docs: Sequence[Any], block_size: int) -> np.ndarray:
    """The segment ids of all blocks: (blocks, block_size)."""
    numbers = np.repeat(np.arange(len(docs)), [len(doc) for doc in docs])
    blocks = numbers[: len(numbers) // block_size * block_size].reshape(-1, block_size)
    begins = np.diff(blocks, axis=1, prepend=blocks[:, :1]) > 0
    return np.cumsum(begins, axis=1)


def blocks_of(docs: Sequence[Any], block_size: int) -> np.ndarray:
    """All blocks: (blocks, block_size)."""
    tokens = np.concatenate(docs).astype(docs[0].dtype)  # which may be of another byte order
    return tokens[: len(tokens) // block_size * block_size].reshape(-1, block_size)


def count_calls(work: Callable[[], object]) -> int:
    """How many Python functions are called, generators resumed included."""
    count = 0

    def profile(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event == "call"

    gc.disable()  # what others hang on to the collector is not ours
    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)
        gc.enable()
    return count
