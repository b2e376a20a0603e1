"""Permutations that can be asked for one element at a time, pinned for ever.

numpy's generators do not promise the same stream in every version; an order that a checkpoint
names must. These are hashes of our own, vectorised.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]

ROUNDS = 4
# A Feistel network over fewer bits has too few permutations to choose from.
MIN_BITS = 6
# Added to the key, one a round: 2**64 divided by the golden ratio, times 1, 2, 3, 4.
_ROUND_KEYS = [np.uint64(0x9E3779B97F4A7C15 * n % 2**64) for n in range(1, ROUNDS + 1)]


def mix(values: Keys) -> Keys:
    """The finalizer of splitmix64 (Steele, Lea, Flood 2014) on uint64; wraps silently."""
    with np.errstate(over="ignore"):
        z = values + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def derive(purpose: str, *words: int) -> int:
    """A 64-bit key from what it is for and any integers; their order and number count."""
    text = repr((purpose, *map(int, words))).encode()
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "little")


def keyed(key: int | Keys, words: npt.NDArray[np.integer]) -> Keys:
    """A key for each of many non-negative integers, from one key or one each."""
    with np.errstate(over="ignore"):
        return mix(mix(words.astype(np.uint64)) + np.asarray(key, np.uint64))


def shuffled(ids: npt.NDArray[np.integer], key: int) -> Ints:
    """The indices that put distinct non-negative ids in a random order; equal ids stay together."""
    return np.argsort(keyed(key, ids), kind="stable").astype(np.int64)


def permute(index: Ints, size: Ints, key: Keys) -> Ints:
    """Where each index in [0, size) goes under the permutation of its size and key.

    A balanced or nearly balanced Feistel network over the enclosing power of two; what lands
    outside walks on along its cycle (Black, Rogaway 2002) until it is inside.
    """
    return _walk(_encrypt, index, size, key)


def unpermute(index: Ints, size: Ints, key: Keys) -> Ints:
    """The inverse of `permute`."""
    return _walk(_decrypt, index, size, key)


Step = Callable[[Keys, Keys, Keys], Keys]  # of values, bits and keys: permutes [0, 2**bits)


def _walk(step: Step, index: Ints, size: Ints, key: Keys) -> Ints:
    index, size, key = np.broadcast_arrays(index, size, key)
    sizes = size.astype(np.uint64)
    found = index.astype(np.uint64)
    bits = np.frexp(np.maximum(size - 1, 1).astype(np.float64))[1].astype(np.uint64)
    bits = np.maximum(bits, np.uint64(MIN_BITS))
    outside = np.flatnonzero(sizes > np.uint64(1))  # one element stays where it is
    while len(outside):
        moved = step(found[outside], bits[outside], key[outside])
        found[outside] = moved
        outside = outside[moved >= sizes[outside]]
    return found.astype(np.int64)


def _masks(bits: Keys) -> tuple[Keys, Keys, Keys]:
    one, low = np.uint64(1), bits // np.uint64(2)
    return low, (one << low) - one, (one << (bits - low)) - one


def _encrypt(value: Keys, bits: Keys, key: Keys) -> Keys:
    low, low_mask, high_mask = _masks(bits)
    left, right = value >> low, value & low_mask
    left_mask, right_mask = high_mask, low_mask
    with np.errstate(over="ignore"):
        for round_key in _ROUND_KEYS:
            left, right = right, left ^ (mix(right + key + round_key) & left_mask)
            left_mask, right_mask = right_mask, left_mask
    return (left << low) | right


def _decrypt(value: Keys, bits: Keys, key: Keys) -> Keys:
    low, low_mask, high_mask = _masks(bits)
    left, right = value >> low, value & low_mask
    left_mask, right_mask = high_mask, low_mask
    with np.errstate(over="ignore"):
        for round_key in reversed(_ROUND_KEYS):
            left, right = right ^ (mix(left + key + round_key) & right_mask), left
            left_mask, right_mask = right_mask, left_mask
    return (left << low) | right
