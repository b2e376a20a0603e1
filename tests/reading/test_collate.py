"""Our batches without torch are those of torch's default_collate, value for value."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import Point
from torch.utils.data import default_collate

from millstream.errors import UsageError
from millstream.reading.collate import collate_samples
from millstream.reading.output import Away, Here

NUMBERS = ["<f4", "<f8", "<f2", "<i8", "<i4", "|i1", "|u1", "|b1", "<c8"]


def arrays(dtype: str, shape: tuple[int, ...]) -> st.SearchStrategy[Any]:
    count = int(np.prod(shape))
    values = st.lists(st.integers(0, 1), min_size=count, max_size=count)
    return values.map(lambda some: np.array(some, dtype).reshape(shape))


# Strategies for the values of one leaf, and for whole samples of one structure.
leaves = st.one_of(
    st.just(st.booleans()),
    st.just(st.integers(-(1 << 63), (1 << 63) - 1)),
    st.just(st.floats(allow_nan=False)),
    st.just(st.text(max_size=3)),
    st.just(st.binary(max_size=3)),
    st.tuples(st.sampled_from(NUMBERS), st.sampled_from([(), (2,), (0, 3), (2, 1, 2)])).map(
        lambda pair: arrays(*pair)
    ),
    st.sampled_from(NUMBERS).map(lambda dtype: arrays(dtype, (1,)).map(lambda a: a[0])),
    st.just(st.integers(0, 9).map(lambda n: torch.full((2,), n, dtype=torch.bfloat16))),
)
structures = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3).map(lambda items: st.tuples(*items).map(list))
        | st.lists(inner, min_size=1, max_size=3).map(lambda items: st.tuples(*items))
        | st.dictionaries(st.sampled_from("abc"), inner, max_size=3).map(st.fixed_dictionaries)
        | st.tuples(inner, inner).map(lambda pair: st.tuples(*pair).map(lambda xy: Point(*xy)))
    ),
    max_leaves=5,
)
batches = structures.flatmap(lambda sample: st.lists(sample, min_size=1, max_size=4))


def same(got: Any, expected: Any) -> bool:
    if isinstance(expected, torch.Tensor):
        alike = isinstance(got, torch.Tensor) and got.dtype == expected.dtype
        return alike and torch.equal(got, expected)
    if isinstance(expected, dict):
        return got.keys() == expected.keys() and all(same(got[k], v) for k, v in expected.items())
    if isinstance(expected, tuple) and type(expected) is tuple:  # of strings, inside a sequence
        expected = list(expected)
    if isinstance(expected, list | tuple):
        pairs = zip(got, expected, strict=True)
        return type(got) is type(expected) and all(same(g, e) for g, e in pairs)
    return type(got) is type(expected) and got == expected


@given(batches)
def test_a_batch_of_samples_is_that_of_default_collate(samples: list[Any]) -> None:
    expected = default_collate(samples)
    assert same(collate_samples(samples, Here()), expected)
    travelled = pickle.loads(pickle.dumps(collate_samples(samples, Away()), protocol=5))
    assert same(travelled, expected)


def test_what_only_torch_knows_is_left_to_it() -> None:
    for samples in (
        [1, 2.5],  # a float32 tensor, of all things
        [OrderedDict(a=1), OrderedDict(a=2)],
        [np.float32(1), np.float32(2)],
        [torch.zeros(2), torch.ones(2)],
    ):
        assert same(collate_samples(samples, Here()), default_collate(samples))


@pytest.mark.parametrize(
    "samples",
    [
        [np.zeros(2), np.zeros(3)],
        [{"a": 1}, {"b": 1}],
        [[1], [1, 2]],
        [None, 1],
        [np.array(["a"]), np.array(["b"])],
        [1 << 70, 1],
        [torch.zeros(2), torch.zeros(3)],
    ],
)
def test_what_has_no_batch_is_said(samples: list[Any]) -> None:
    with pytest.raises(UsageError, match="collate_fn"):
        collate_samples(samples, Here())


def test_what_torch_refuses_and_a_dataset_may_hold() -> None:
    samples = [{"none": None, "big": np.arange(2, dtype=">i4") + i} for i in range(3)]
    batch = collate_samples(samples, Here())
    assert batch["none"] is None
    assert batch["big"].tolist() == [[0, 1], [1, 2], [2, 3]]
