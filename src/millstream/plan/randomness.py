"""Random numbers keyed by what they are for: the same, whoever draws them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from millstream.plan.permute import Ints, Keys, derive, keyed


def generator(seed: int, epoch: int, position: int) -> np.random.Generator:
    """For the sample at a position of an epoch."""
    return _keyed("sample", seed, epoch, position)


def generator_for_row(seed: int, row: int) -> np.random.Generator:
    """For a row that is read outside an epoch."""
    return _keyed("row", seed, row)


def _keyed(purpose: str, *words: int) -> np.random.Generator:
    key = np.array([derive(purpose, *words), derive(f"{purpose}, again", *words)], np.uint64)
    return np.random.Generator(np.random.Philox(key=key))


def decoding_keys(seed: int, epoch: int, positions: Ints) -> Keys:
    """A key for each sample at these positions of an epoch, for what decoding draws."""
    return keyed(derive("decode", seed, epoch), positions)


def decoding_keys_for_rows(seed: int, rows: Ints) -> Keys:
    """A key for each of these rows, read outside an epoch."""
    return keyed(derive("decode a row", seed), rows)


def uniforms(keys: Keys, count: int) -> npt.NDArray[np.float64]:
    """So many numbers in [0, 1) for each key: (len(keys), count), of 53 random bits each."""
    bits = keyed(keys[:, None], np.arange(count))
    return (bits >> np.uint64(11)) * np.float64(2.0**-53)
