"""Permutations that can be asked for one element at a time, pinned for ever.

numpy's generators do not promise the same stream in every version; an order that a checkpoint
names must. These are hashes of our own, vectorised.
"""

from __future__ import annotations

from hashlib import blake2b
from operator import index as whole_number

import numpy as np
import numpy.typing as npt

from millstream.errors import UsageError

Ints = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]

# So few elements are ranked by hash: exactly uniform, as a Feistel network over a few bits is not.
FEW = 64
# With fewer rounds the places of two of 65 to 512 elements visibly depend on each other.
ROUNDS = range(6)
# So many elements at a time: the arrays of a round are reused memory in the processor's cache.
BLOCK = 8192

_GOLDEN = 0x9E3779B97F4A7C15  # 2**64 divided by the golden ratio
_ROUND_KEYS = [np.uint64(_GOLDEN * (n + 1) % 2**64) for n in ROUNDS]


def mix(values: Keys) -> Keys:
    """splitmix64 (Steele, Lea, Flood 2014) of uint64 values; wraps silently."""
    with np.errstate(over="ignore"):  # numpy warns when a scalar wraps, though not for arrays
        return _finalize(values + np.uint64(_GOLDEN))


def _finalize(z: Keys) -> Keys:
    """Scrambles fresh values, in place where they are an array."""
    z ^= z >> np.uint64(30)
    z *= np.uint64(0xBF58476D1CE4E5B9)
    z ^= z >> np.uint64(27)
    z *= np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return z


def derive(purpose: str, *words: int | str) -> int:
    """A 64-bit key from what it is for and any words; their order and number count."""
    plain = [str(word) if isinstance(word, str) else whole_number(word) for word in words]
    text = repr((purpose, *plain)).encode()
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "little")


def keyed(key: int | Keys, words: npt.NDArray[np.integer]) -> Keys:
    """A key for each of many integers, from one key or one each; distinct words never meet."""
    with np.errstate(over="ignore"):
        return mix(mix(words.astype(np.uint64)) + np.asarray(key, np.uint64))


def shuffled(ids: npt.NDArray[np.integer], key: int) -> Ints:
    """The indices that put ids in a random order; equal ids stay together, in their order."""
    return np.argsort(keyed(key, ids), kind="stable").astype(np.int64)


def permute(index: npt.ArrayLike, size: npt.ArrayLike, key: npt.ArrayLike) -> Ints:
    """Where each index in [0, size) goes under the permutation of its size and key.

    The three broadcast. Raises UsageError for an index outside [0, size).
    """
    return _permuted(index, size, key, inverse=False)


def unpermute(index: npt.ArrayLike, size: npt.ArrayLike, key: npt.ArrayLike) -> Ints:
    """The inverse of `permute`."""
    return _permuted(index, size, key, inverse=True)


def _permuted(
    index: npt.ArrayLike, size: npt.ArrayLike, key: npt.ArrayLike, *, inverse: bool
) -> Ints:
    indices, sizes, keys = np.broadcast_arrays(
        np.asarray(index, np.int64), np.asarray(size, np.int64), np.asarray(key, np.uint64)
    )
    if ((indices < 0) | (indices >= sizes)).any():
        raise UsageError("an index to permute is negative, or not below its size")
    found = _walk(indices.ravel(), sizes.ravel(), keys.ravel(), inverse)
    return found.reshape(indices.shape)


def _walk(value: Ints, size: Ints, key: Keys, inverse: bool) -> Ints:
    moved = np.empty_like(value)
    for at in range(0, len(value), BLOCK):
        block = slice(at, at + BLOCK)
        moved[block] = _step(value[block], size[block], key[block], inverse)
    # What lands outside goes on along its cycle until it is inside (Black, Rogaway 2002).
    out = np.flatnonzero(moved >= size)
    if len(out):
        moved[out] = _walk(moved[out], size[out], key[out], inverse)
    return moved


def _step(value: Ints, size: Ints, key: Keys, inverse: bool) -> Ints:
    moved = _feistel(value.astype(np.uint64), size, mix(key), inverse).astype(np.int64)
    few = size <= FEW
    if few.any():
        moved[few] = _rank(value[few], size[few], key[few], inverse)
    return moved


def _feistel(value: Keys, size: Ints, key: Keys, inverse: bool) -> Keys:
    """Permutes the enclosing power of two: in turns, a hash of the bits of one half is xored
    into the other."""
    bits = np.frexp((size - 1).astype(np.float64))[1].astype(np.uint64)
    one = np.uint64(1)
    low = (one << bits // 2) - one
    halves = (one << bits) - one - low, low
    for n in reversed(ROUNDS) if inverse else ROUNDS:
        seen, changed = halves[n % 2], halves[1 - n % 2]
        value ^= _finalize((value & seen) + (key + _ROUND_KEYS[n])) & changed
    return value


def _rank(index: Ints, size: Ints, key: Keys, inverse: bool) -> Ints:
    """Every element has a hash; an element goes to the rank that its hash has among all."""
    elements = np.arange(size.max())
    hashes = keyed(key[:, np.newaxis], elements)
    hashes[elements >= size[:, np.newaxis]] = np.iinfo(np.uint64).max
    here = np.arange(len(index))
    if inverse:
        return np.argsort(hashes, axis=1, kind="stable")[here, index]
    return np.asarray((hashes < hashes[here, index, np.newaxis]).sum(axis=1), np.int64)
