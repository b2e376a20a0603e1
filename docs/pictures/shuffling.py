"""How an epoch is shuffled: chunks, lanes, windows."""

from __future__ import annotations

import numpy as np
from example import (
    CHUNK_OF_ROW,
    CHUNK_ROWS,
    LANES,
    MARGIN,
    ROWS,
    WIDTH,
    WINDOW,
    lane_border,
    line_of,
    order,
    stretches,
)
from svg import Picture

from millstream.plan.order import window_at


def lanes() -> Picture:
    """Steps 1 and 2: chunks are permuted, laid end to end, and cut into lanes."""
    picture = Picture(
        title="Chunks laid end to end in a random order, and cut into four lanes",
        description="Twelve chunks as they were written, and the lines that two epochs make of "
        "them. Both lines are cut into four lanes of equal length; a cut may go through a chunk.",
        width=WIDTH,
        height=294,
    )
    scale = (WIDTH - 2 * MARGIN) / ROWS
    picture.text(MARGIN, 32, f"As written: {len(CHUNK_ROWS)} chunks, {ROWS:,} rows", "bold")
    for chunk, start, stop in stretches(CHUNK_OF_ROW):
        picture.box(MARGIN + start * scale, 42, (stop - start) * scale - 1, 30, "plain")
        middle = MARGIN + (start + stop) / 2 * scale
        picture.text(middle, 61, str(chunk), "small", "middle")
    for epoch in (0, 1):
        top = 112 + 98 * epoch
        words = f"Epoch {epoch}: in the order of a key of (seed, epoch), cut into {LANES} lanes"
        picture.text(MARGIN, top, words, "bold")
        _laid(picture, epoch, top + 10, scale)
    return picture


def _laid(picture: Picture, epoch: int, top: float, scale: float) -> None:
    chunks = CHUNK_OF_ROW[line_of(epoch)]
    for lane in range(LANES):
        first, end = lane_border(lane), lane_border(lane + 1)
        for chunk, start, stop in stretches(chunks[first:end]):
            x, width = MARGIN + (first + start) * scale, (stop - start) * scale - 1
            label = str(chunk) if width > 3 + 7 * len(str(chunk)) else ""
            picture.box(x, top, width, 30, f"lane{lane}", label)
        words = f"lane {lane}: {end - first} rows"
        picture.text(MARGIN + (first + end) / 2 * scale, top + 47, words, "small", "middle")
        if lane:
            x = MARGIN + first * scale - 0.5
            picture.line(x, top - 3, x, top + 52, "strong")


def windows() -> Picture:
    """Steps 3 and 4: where each position of an epoch reads."""
    picture = Picture(
        title="Where the positions of an epoch read, in windows that grow",
        description="Each dot is a row: to the right its position in the epoch, downwards its "
        "place on the line of chunks. All dots of a lane lie in boxes, its windows. The first "
        "windows are small, so the first positions lie at the heads of few chunks.",
        width=WIDTH,
        height=606,
    )
    left, top, right, bottom = 104, 74, WIDTH - 78, 534
    across, down = (right - left) / ROWS, (bottom - top) / ROWS
    picture.text(MARGIN, 32, f"Epoch 0, {LANES} lanes, shuffle_window={WINDOW}", "bold")
    _chunk_names(picture, left, right, top, down)
    for lane in range(LANES):
        first, end = lane_border(lane), lane_border(lane + 1)
        _window_boxes(picture, end - first, (left, top + first * down), across, down, lane == 0)
    # Every third: all lanes, as three and four have no divisor in common.
    positions = np.arange(0, ROWS, 3)
    place = np.argsort(line_of(0))[order().epoch(0).rows(positions)]
    for lane in range(LANES):
        mine = positions % LANES == lane
        spots = zip(positions[mine].tolist(), place[mine].tolist(), strict=True)
        picture.dots([(left + p * across, top + at * down) for p, at in spots], f"lane{lane}")
        middle = top + (lane_border(lane) + lane_border(lane + 1)) / 2 * down
        picture.text(right + 8, middle + 4, f"lane {lane}", "small")
    for position in range(0, ROWS, 1000):
        x = left + position * across
        picture.line(x, bottom, x, bottom + 5, "frame")
        picture.text(x, bottom + 19, f"{position:,}", "small quiet", "middle")
    picture.text((left + right) / 2, bottom + 38, "position in the epoch", "small", "middle")
    words = "A dot is a row (every third is drawn), a box is a window of a lane."
    picture.text(MARGIN, bottom + 58, words, "small quiet")
    return picture


def _chunk_names(picture: Picture, left: float, right: float, top: float, down: float) -> None:
    picture.text(MARGIN, top - 8, "on the line", "small quiet")
    for chunk, start, stop in stretches(CHUNK_OF_ROW[line_of(0)]):
        picture.line(left, top + start * down, right, top + start * down, "thin")
        middle = top + (start + stop) / 2 * down
        picture.text(left - 8, middle + 4, f"chunk {chunk}", "small", "end")


def _window_boxes(
    picture: Picture,
    rows: int,
    corner: tuple[float, float],
    across: float,
    down: float,
    named: bool,
) -> None:
    x, y = corner
    starts, sizes = window_at(np.arange(rows), WINDOW)[1:]
    for start in np.unique(starts).tolist():
        size = min(int(sizes[start]), rows - start)
        at = x + start * LANES * across
        width = size * LANES * across
        picture.box(at, y + start * down, width, size * down, "frame")
        if named:
            picture.text(at + width / 2, y - 8, f"{size}", "small", "middle")
    if named:
        picture.text(x, y - 24, "rows in a window:", "small quiet")
