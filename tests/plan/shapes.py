"""Random chunks, selections and orders for the laws of the plan."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from millstream.plan import Order, Plan, Selection, subsample

# Uneven, with chunks of one row and of none.
chunk_rows = st.lists(st.sampled_from([0, 1]) | st.integers(1, 90), min_size=1, max_size=12).map(
    np.array
)


@st.composite
def selections(draw: Callable[..., Any], rows: np.ndarray) -> Selection:
    """All rows of chunks, a part of them, or several copies."""
    whole = Selection.whole(rows)
    fraction = draw(st.sampled_from([1.0, 1.0, 0.4, 1.7, 3.0]))
    if round(fraction * whole.rows) == 0:
        return whole
    return subsample(whole, fraction, seed=draw(st.integers(0, 5)))


@st.composite
def orders(draw: Callable[..., Any], *, shuffle: bool | None = None) -> Order:
    rows = draw(chunk_rows)
    return Order(
        chunk_rows=rows,
        selection=draw(selections(rows)),
        seed=draw(st.integers(-(1 << 70), 1 << 70)),
        shuffle=draw(st.booleans()) if shuffle is None else shuffle,
        window=draw(st.sampled_from([1, 2, 7, 64, 65, 100, 200, 10_000, (1 << 62) - 1])),
        lanes=draw(st.integers(1, 9) | st.just(1_000)),
    )


def selected(rows: np.ndarray, selection: Selection) -> np.ndarray:
    """The row numbers of a selection, as often as they are in it, sorted."""
    first = (np.cumsum(rows) - rows)[selection.chunk]
    spans = zip(first + selection.start, first + selection.stop, strict=True)
    return np.sort(np.concatenate([np.zeros(0, np.int64), *(np.arange(a, b) for a, b in spans)]))


def whole_order(rows: np.ndarray, **settings: Any) -> Order:
    """An order over all rows; shuffled in small windows on one lane, but for what is said."""
    usual = {"selection": Selection.whole(rows), "seed": 1, "shuffle": True}
    return Order(chunk_rows=rows, **{**usual, "window": 100, "lanes": 1, **settings})


def read_by(plan: Plan, rank: int) -> np.ndarray:
    """All that a rank reads, in its order."""
    batches = [plan.batch(step, rank) for step in range(plan.steps)]
    return np.concatenate([np.zeros(0, np.int64), *batches])
