"""Permutations and keys: exact as maps, and as good as random at every size."""

from __future__ import annotations

from itertools import permutations
from math import factorial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.errors import UsageError
from millstream.plan import (
    decoding_keys,
    decoding_keys_for_rows,
    derive,
    generator,
    generator_for_row,
    mix,
    permute,
    shuffled,
    uniforms,
    unpermute,
)

DRAWS = 100_000
KEYS = mix(np.arange(DRAWS, dtype=np.uint64))


def too_uneven(counts: np.ndarray) -> bool:
    """Whether chi-square is five standard deviations above that of equally likely cells."""
    expected, freedom = counts.mean(), counts.size - 1
    chi_square = ((counts - expected) ** 2 / expected).sum()
    return bool(chi_square > freedom + 5 * (2 * freedom) ** 0.5)


@given(st.integers(1, 20_000), st.integers(0, 2**64 - 1))
def test_each_element_goes_to_a_place_of_its_own_and_back(size: int, key: int) -> None:
    there = permute(np.arange(size), size, key)
    assert np.array_equal(np.sort(there), np.arange(size))
    assert np.array_equal(unpermute(there, size, key), np.arange(size))


@given(st.integers(1, 2**62), st.integers(0, 2**64 - 1), st.data())
def test_there_and_back_at_any_size(size: int, key: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    there = permute(index, size, key)
    assert 0 <= there < size
    assert unpermute(there, size, key) == index


@given(st.lists(st.integers(1, 300), min_size=1, max_size=5), st.lists(st.integers(0, 9)))
def test_each_of_many_is_as_alone(sizes: list[int], keys: list[int]) -> None:
    index = [size // 2 for size in sizes]
    table = permute(np.array(index), np.array(sizes), np.array(keys, np.uint64)[:, np.newaxis])
    assert table.shape == (len(keys), len(sizes))
    for row, key in zip(table, keys, strict=True):
        alone = [int(permute(i, size, key)) for i, size in zip(index, sizes, strict=True)]
        assert row.tolist() == alone


@pytest.mark.parametrize("block", [1, 100, 8191, 8192, 8193, 40_000])
def test_it_does_not_matter_how_many_are_asked_for_at_once(block: int) -> None:
    index = np.arange(40_000)
    parts = [permute(index[at : at + block], 40_000, 5) for at in range(0, 2 * block, block)]
    assert np.array_equal(np.concatenate(parts), permute(index[: 2 * block], 40_000, 5))


@pytest.mark.parametrize("index", [-1, 10, 2**40])
def test_an_index_outside_is_refused(index: int) -> None:
    for way in (permute, unpermute):
        with pytest.raises(UsageError):
            way(np.array([0, index]), 10, 1)


@pytest.mark.parametrize("keys", [np.arange(DRAWS, dtype=np.uint64), KEYS], ids=["1, 2", "mixed"])
@pytest.mark.parametrize("size", [2, 3, 4, 5])
def test_every_permutation_of_few_is_as_frequent(size: int, keys: np.ndarray) -> None:
    found = permute(np.arange(size), size, keys[:, np.newaxis])
    kinds = {kind: n for n, kind in enumerate(permutations(range(size)))}
    counts = np.bincount([kinds[tuple(one)] for one in found.tolist()])
    assert len(counts) == factorial(size)
    assert not too_uneven(counts)


# Around the border between the two methods, and around powers of two.
@pytest.mark.parametrize("size", [2, 3, 7, 33, 63, 64, 65, 100, 127, 128, 129, 256])
def test_two_elements_go_to_every_pair_of_places_as_often(size: int) -> None:
    for one, other in ((0, 1), (0, size // 2), (size // 3, size - 1)):
        if one == other:
            continue
        pairs = permute(one, size, KEYS) * size + permute(other, size, KEYS)
        counts = np.bincount(pairs, minlength=size * size).reshape(size, size)
        assert not counts.diagonal().any()
        assert not too_uneven(counts[~np.eye(size, dtype=bool)])


@pytest.mark.parametrize("size", [64, 1_000, 65_536])
def test_permutations_of_neighbouring_keys_do_not_resemble(size: int) -> None:
    keys = np.arange(50, dtype=np.uint64)[:, np.newaxis]
    table = permute(np.arange(size), size, keys).astype(np.float64)
    table = (table - table.mean()) / table.std()
    correlations = (table[1:] * table[:-1]).mean(axis=1) * size**0.5
    assert abs(correlations.mean()) < 5 / 49**0.5
    # Nor the one shifted by an element to the other.
    shifted = (table[1:, 1:] * table[:-1, :-1]).mean(axis=1) * size**0.5
    assert abs(shifted.mean()) < 5 / 49**0.5


def test_keys_depend_on_purpose_words_order_and_number() -> None:
    words = [
        ("window",), ("window", 0), ("window", 0, 0), ("window", 1, 2), ("window", 2, 1),
        ("window", 12), ("window", "1", 2), ("window", -1), ("split", 1, 2), ("split", 2**64),
        ("split", 0), ("window, 1", 2),
    ]  # fmt: skip
    keys = {derive(*some) for some in words}
    assert len(keys) == len(words)
    assert all(0 <= key < 2**64 for key in keys)
    assert derive("window", np.int64(1), np.str_("2")) == derive("window", 1, "2")


@given(st.lists(st.integers(0, 20), max_size=50), st.integers(0, 2**64 - 1))
def test_shuffled_keeps_equal_ids_together(ids: list[int], key: int) -> None:
    taken = shuffled(np.array(ids, np.int64), key)
    assert np.array_equal(np.sort(taken), np.arange(len(ids)))
    for value in ids:
        places = np.flatnonzero(np.array(ids)[taken] == value)
        assert np.array_equal(places, np.arange(places[0], places[0] + len(places)))
        assert (np.diff(taken[places]) > 0).all()


def test_every_order_of_few_chunks_is_as_frequent() -> None:
    kinds = {kind: n for n, kind in enumerate(permutations(range(4)))}
    found = [kinds[tuple(shuffled(np.arange(4), key).tolist())] for key in range(20_000)]
    assert not too_uneven(np.bincount(found, minlength=24))


def test_generators_differ_by_each_of_their_words() -> None:
    made = [generator(*words) for words in [(1, 2, 3), (1, 3, 2), (2, 2, 3), (1, 2, 4), (12, 3, 0)]]
    made += [generator_for_row(*words) for words in [(1, 2), (2, 1), (1, 23)]]
    assert len({int(one.integers(2**63)) for one in made}) == len(made)
    assert generator(1, 2, 3).random() == generator(1, 2, 3).random()


def test_what_decoding_draws_differs_by_each_word_and_is_uniform() -> None:
    some = np.arange(20_000)
    keys = [decoding_keys(*words, some) for words in [(1, 2), (2, 1), (1, 3), (12, 0)]]
    keys.append(decoding_keys_for_rows(1, some))
    assert len(np.unique(np.concatenate(keys))) == 5 * len(some)
    assert decoding_keys(1, 2, some[7:8]).tolist() == keys[0][7:8].tolist()
    drawn = uniforms(keys[0], 3)
    assert drawn.shape == (len(some), 3)
    assert drawn.dtype == np.float64
    assert drawn.min() >= 0
    assert drawn.max() < 1
    assert np.array_equal(uniforms(keys[0][5:], 2), drawn[5:, :2])
    for column in drawn.T:
        assert not too_uneven(np.bincount((column * 50).astype(int), minlength=50))
    correlations = np.corrcoef(drawn.T)
    assert np.abs(correlations[~np.eye(3, dtype=bool)]).max() < 0.03
