"""Sets of byte ranges, as int64 arrays (n, 2) of starts and stops: what to ask a store for."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Spans = npt.NDArray[np.int64]


def spans(starts: npt.ArrayLike, stops: npt.ArrayLike) -> Spans:
    """The ranges from each start up to its stop."""
    return np.stack([np.asarray(starts, np.int64), np.asarray(stops, np.int64)], axis=-1)


NO_SPANS = spans([], [])


def joined(some: Spans, gap: int = 0) -> Spans:
    """The fewest ranges that cover these, in order: those at most `gap` bytes apart become one."""
    some = some[some[:, 0] < some[:, 1]]
    some = some[np.argsort(some[:, 0], kind="stable")]
    reach = np.maximum.accumulate(some[:, 1])
    apart = np.flatnonzero(some[1:, 0] > reach[:-1] + gap)
    first = np.concatenate([[0], apart + 1])[: len(some)]
    last = np.concatenate([apart, [len(some) - 1]])[: len(some)]
    return spans(some[first, 0], reach[last])


def missing(wanted: Spans, there: Spans) -> Spans:
    """The bytes of some ranges that are not in others, as ranges in order."""
    edges = np.unique(np.concatenate([wanted, there]))
    lacking = (_depth(edges, wanted) > 0) & (_depth(edges, there) == 0)
    return joined(spans(edges[:-1], edges[1:])[lacking[:-1]])


def _depth(edges: npt.NDArray[np.int64], some: Spans) -> npt.NDArray[np.int64]:
    """In how many ranges the bytes from each edge to the next lie."""
    begin = np.bincount(np.searchsorted(edges, some[:, 0]), minlength=len(edges))
    end = np.bincount(np.searchsorted(edges, some[:, 1]), minlength=len(edges))
    return np.cumsum(begin - end)
