"""Generators keyed by what they are for: the same numbers, whoever draws them."""

from __future__ import annotations

import numpy as np

from millstream.plan.permute import derive


def generator(seed: int, epoch: int, position: int) -> np.random.Generator:
    """For the sample at a position of an epoch."""
    return _keyed("sample", seed, epoch, position)


def generator_for_row(seed: int, row: int) -> np.random.Generator:
    """For a row that is read outside an epoch."""
    return _keyed("row", seed, row)


def _keyed(purpose: str, *words: int) -> np.random.Generator:
    key = np.array([derive(purpose, *words), derive(f"{purpose}, again", *words)], np.uint64)
    return np.random.Generator(np.random.Philox(key=key))
