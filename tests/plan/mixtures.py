"""Random mixtures for the laws."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import numpy as np
from hypothesis import strategies as st
from shapes import chunk_rows, selections, whole_order

from millstream.plan import Group, Mixture, Order

weight = st.sampled_from([0.0, 1e-6, 0.1, 0.25, 1.0, 1.0, 3.0, 7.5])


@st.composite
def weight_lists(draw: Callable[..., Any], size: int) -> tuple[float, ...]:
    """Weights of which one at least is not 0."""
    found = draw(st.lists(weight, min_size=size, max_size=size))
    return tuple(found if any(found) else [1.0] * size)


@st.composite
def curricula(draw: Callable[..., Any], size: int) -> Callable[[int], tuple[float, ...]]:
    """One list of weights up to a position, then another."""
    change = draw(st.integers(0, 2_000))
    early, late = draw(weight_lists(size)), draw(weight_lists(size))
    return lambda position: early if position < change else late


@st.composite
def trees(draw: Callable[..., Any], sources: int, *, until_all: bool | None = None) -> Group:
    """A group of so many sources, of which the last two or more may be a group of their own."""
    numbers: Any = list(range(sources))
    alone = draw(st.integers(0, sources - 2)) if sources > 2 and draw(st.booleans()) else sources
    if alone < sources:
        inner = _group(draw, tuple(numbers[alone:]), until_all)
        numbers = [*numbers[:alone], inner]
    return _group(draw, tuple(numbers), until_all)


def _group(draw: Callable[..., Any], members: tuple[Any, ...], until_all: bool | None) -> Group:
    kinds = [st.none(), weight_lists(len(members)), curricula(len(members))]
    return Group(
        members=members,
        weights=draw(st.one_of(*kinds)),
        until_all=draw(st.booleans()) if until_all is None else until_all,
    )


@st.composite
def sources(draw: Callable[..., Any], most: int = 3) -> tuple[Order, ...]:
    """Orders with the same lanes; each has a row at least."""
    lanes = draw(st.integers(1, 9))
    found = []
    for number in range(draw(st.integers(1, most))):
        rows = draw(chunk_rows.filter(lambda rows: rows.sum() > 0))
        found.append(
            Order(
                chunk_rows=rows,
                selection=draw(selections(rows)),
                seed=number,
                shuffle=draw(st.booleans()),
                window=draw(st.sampled_from([1, 7, 100])),
                lanes=lanes,
            )
        )
    return tuple(found)


@st.composite
def mixtures(
    draw: Callable[..., Any], *, until_all: bool | None = None, stratified: bool | None = None
) -> Mixture:
    some = draw(sources())
    is_stratified = draw(st.booleans()) if stratified is None else stratified
    most = min(source.length for source in some)
    return Mixture(
        sources=some,
        tree=draw(trees(len(some), until_all=until_all)),
        seed=draw(st.integers(0, 1 << 70)),
        global_batch=None if is_stratified else draw(st.integers(1, min(most, 30))),
    )


def plain(
    sizes: tuple[int, ...],
    weights: Any = None,
    *,
    until_all: bool = True,
    lanes: int = 1,
    shuffle: bool = True,
    **options: Any,
) -> Mixture:
    """A mixture of whole sources of so many rows, in chunks of 100."""
    numbers = count()
    return Mixture(
        sources=tuple(_source(size, lanes, shuffle, next(numbers)) for size in sizes),
        tree=Group(members=tuple(range(len(sizes))), weights=weights, until_all=until_all),
        **{"seed": 5, **options},
    )


def _source(size: int, lanes: int, shuffle: bool, seed: int) -> Order:
    rows = np.array([100] * (size // 100) + [size % 100])
    return whole_order(rows, lanes=lanes, seed=seed, shuffle=shuffle)
