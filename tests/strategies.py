"""Random samples for property tests: a structure, and rows that agree with it."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from millstream import Json

Point = namedtuple("Point", "x y")

DTYPES = ["<f4", "<f8", "<f2", "<i8", "|i1", "|u1", "|b1", ">i4", "<u2", "<c8", "<M8[ns]", "<U3"]


def arrays(dtype: str, shape: tuple[int, ...]) -> st.SearchStrategy[np.ndarray]:
    """Arrays of random bytes: every bit pattern, NaNs and all, must come back."""
    kind = np.dtype(dtype)
    count = int(np.prod(shape))
    if kind.kind == "U":
        letters = st.lists(st.sampled_from(["", "a", "bc", "äß☃"]), min_size=count, max_size=count)
        return letters.map(lambda items: np.array(items, kind).reshape(shape))
    if kind.kind == "b":
        bits = st.lists(st.booleans(), min_size=count, max_size=count)
        return bits.map(lambda items: np.array(items, kind).reshape(shape))
    size = count * kind.itemsize
    raw = st.binary(min_size=size, max_size=size)
    return raw.map(lambda data: np.frombuffer(data, kind).reshape(shape).copy())


shapes = st.lists(st.integers(0, 3), max_size=3).map(tuple)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3)
    ),
    max_leaves=5,
)

text = st.text(st.characters(codec="utf-8"), max_size=20)


def ragged(dtype: str) -> st.SearchStrategy[np.ndarray]:
    return shapes.flatmap(lambda shape: arrays(dtype, shape))


def scalars(dtype: str) -> st.SearchStrategy[Any]:
    return arrays(dtype, (1,)).map(lambda array: array[0])


# Each is a strategy for the values of one field.
leaves: st.SearchStrategy[st.SearchStrategy[Any]] = st.one_of(
    st.just(st.booleans()),
    st.just(st.integers(-(1 << 63), (1 << 63) - 1)),
    st.just(st.floats()),
    st.just(text),
    st.just(st.binary(max_size=40)),
    st.just(json_values.map(Json)),
    st.sampled_from(DTYPES).map(ragged),
    st.tuples(st.sampled_from(DTYPES), shapes).map(lambda pair: arrays(*pair)),
    st.sampled_from([d for d in DTYPES if d not in ("<U3",)]).map(scalars),
)


def _containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return (
        st.lists(inner, max_size=3).map(lambda items: st.tuples(*items).map(list))
        | st.lists(inner, max_size=3).map(lambda items: st.tuples(*items))
        | st.dictionaries(st.sampled_from("abcdef"), inner, max_size=4).map(st.fixed_dictionaries)
        | st.tuples(inner, inner).map(lambda pair: st.tuples(*pair).map(lambda xy: Point(*xy)))
        | st.just(st.none())
    )


# Strategies for whole samples of one structure.
structures = st.recursive(leaves, _containers, max_leaves=6)


@st.composite
def rows(draw: Callable[..., Any], min_size: int = 1, max_size: int = 12) -> list[Any]:
    """Samples that may lie in one dataset."""
    sample = draw(structures)
    return draw(st.lists(sample, min_size=min_size, max_size=max_size))


def same(got: Any, expected: Any) -> bool:
    """Equal in structure, types, dtypes, shapes and every bit; a Json equals what it holds."""
    if isinstance(expected, Json):
        return got == expected.value and type(got) is type(expected.value)
    if isinstance(expected, np.ndarray | np.generic):
        return (
            isinstance(got, np.ndarray) == isinstance(expected, np.ndarray)
            and got.dtype == expected.dtype
            and got.dtype.str == expected.dtype.str
            and got.shape == expected.shape
            and got.tobytes() == expected.tobytes()
        )
    if hasattr(expected, "untyped_storage"):  # a torch tensor
        alike = type(got) is type(expected) and got.dtype == expected.dtype
        return alike and got.shape == expected.shape and bool((got == expected).all())
    if isinstance(expected, float):
        return type(got) is float and np.float64(got).tobytes() == np.float64(expected).tobytes()
    if isinstance(expected, dict):
        return (
            type(got) is dict
            and got.keys() == expected.keys()
            and all(same(got[key], expected[key]) for key in expected)
        )
    if isinstance(expected, list | tuple):
        alike = type(got).__name__ == type(expected).__name__ and getattr(
            got, "_fields", None
        ) == getattr(expected, "_fields", None)
        return (
            alike
            and len(got) == len(expected)
            and all(same(g, e) for g, e in zip(got, expected, strict=True))
        )
    return type(got) is type(expected) and got == expected
