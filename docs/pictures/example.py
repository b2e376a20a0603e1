"""The dataset and the order that the pictures are of."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from millstream.plan import Order, Selection

LANES, WINDOW, SEED = 4, 256, 42
CHUNK_ROWS = np.array([380, 260, 340, 300, 360, 280, 320, 400, 240, 310, 350, 300])
CHUNK_OF_ROW = np.repeat(np.arange(len(CHUNK_ROWS)), CHUNK_ROWS)
ROWS = int(CHUNK_ROWS.sum())
MARGIN, WIDTH = 24, 760
LEFT = 88  # of what has names on its left
CELL = 27


def order(chunk_rows: np.ndarray = CHUNK_ROWS, *, window: int = WINDOW, seed: int = SEED) -> Order:
    """The order of the pictures."""
    whole = Selection.whole(chunk_rows)
    return Order(
        chunk_rows=chunk_rows,
        selection=whole,
        seed=seed,
        shuffle=True,
        window=window,
        lanes=LANES,
    )


def line_of(epoch: int) -> np.ndarray:
    """The rows as they lie on the epoch's line: windows of one row leave every lane as it lies."""
    rows = order(window=1).epoch(epoch).rows(np.arange(ROWS))
    return np.concatenate([rows[lane::LANES] for lane in range(LANES)])


def stretches(values: np.ndarray) -> list[tuple[int, int, int]]:
    """Runs of one value: the value, where the run starts and where it stops."""
    borders = [0, *(np.flatnonzero(np.diff(values)) + 1).tolist(), len(values)]
    return [(int(values[start]), start, stop) for start, stop in pairwise(borders)]


def lane_border(lane: int) -> int:
    """Where a lane starts on the line."""
    return int(np.sum([len(range(before, ROWS, LANES)) for before in range(lane)]))
