"""Draws the pictures of docs/order.md from plans: python docs/pictures/draw.py [FOLDER]

Nothing is drawn by hand: which lane, window, rank and source a row has is asked of millstream.plan,
so the pictures are what the library does. A test draws them again and compares.
"""

from __future__ import annotations

import sys
from itertools import groupby, pairwise
from pathlib import Path

import numpy as np
from svg import Picture

from millstream.plan import Group, MixedEpoch, Mixture, Order, Plan, Selection
from millstream.plan.order import window_at
from millstream.plan.schedule import BLOCK

LANES, WINDOW, SEED = 4, 256, 42
CHUNK_ROWS = np.array([380, 260, 340, 300, 360, 280, 320, 400, 240, 310, 350, 300])
CHUNK_OF_ROW = np.repeat(np.arange(len(CHUNK_ROWS)), CHUNK_ROWS)
ROWS = int(CHUNK_ROWS.sum())
MARGIN, WIDTH = 24, 760


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


CELL = 27


def ranks() -> Picture:
    """Step 4: which rank reads a position, for several numbers of ranks."""
    count, batch, left = 24, 2, 88
    picture = Picture(
        title="The same positions, divided among one, two, three and four ranks",
        description="The first 24 positions of an epoch with their rows and lanes, and below which "
        "of them each rank reads in batches of two. With one, two or four ranks a rank stays in "
        "its own lanes, with three it touches all.",
        width=WIDTH,
        height=450,
    )
    epoch = order().epoch(0)
    rows = epoch.rows(np.arange(count))
    picture.text(MARGIN, 30, f"The first {count} positions of epoch 0", "bold")
    for name, y in (("position", 52), ("row", 70), ("lane", 91)):
        picture.text(left - 8, y, name, "small quiet", "end")
    for position in range(count):
        x = left + position * CELL
        middle = x + CELL / 2
        picture.text(middle, 52, str(position), "small quiet", "middle")
        picture.text(middle, 70, str(rows[position]), "tiny", "middle")
        lane = position % LANES
        picture.box(x + 1, 77, CELL - 2, 20, f"lane{lane}", str(lane))
    y = 126
    for total in (1, 2, 3, 4):
        plan = Plan(epoch=epoch, batch_size=batch, ranks=total, drop_last=True)
        y = _shares(picture, plan, left, y, count) + 24
    return picture


def _shares(picture: Picture, plan: Plan, left: float, y: float, count: int) -> float:
    """The rows of cells of all ranks. Returns where they end."""
    each = plan.batch_size * plan.ranks
    touched = [sorted({p % LANES for p in _until(plan, rank, count)}) for rank in range(plan.ranks)]
    own = "all lanes" if touched[0] == list(range(LANES)) else "its own lanes"
    who = f"{plan.ranks} ranks" if plan.ranks > 1 else "1 rank"
    picture.text(left, y, f"{who}, each in {own}" if plan.ranks > 1 else who, "small bold")
    edge = left + CELL * count
    picture.text(edge, y, f"a step is {each} positions", "small quiet", "end")
    for rank in range(plan.ranks):
        top = y + 8 + 20 * rank
        picture.text(left - 8, top + 13, f"rank {rank}", "small", "end")
        for position in _until(plan, rank, count):
            lane = position % LANES
            x = left + position * CELL + 1
            picture.box(x, top, CELL - 2, 18, f"lane{lane}", str(lane))
    bottom = y + 7 + 20 * plan.ranks
    for position in range(0, count + 1, each):
        x = left + position * CELL
        picture.line(x, y + 6, x, bottom, "frame")
    return bottom


def _until(plan: Plan, rank: int, count: int) -> list[int]:
    """The positions below a count that a rank reads."""
    steps = -(-(count - plan.start) // (plan.batch_size * plan.ranks))
    found = np.concatenate([plan.positions(step, rank) for step in range(steps)])
    return [position for position in found.tolist() if position < count]


SMALL = 13.5


def resume() -> Picture:
    """A run that stops, and two ways in which it may go on."""
    count, stop = 48, 24
    picture = Picture(
        title="A run that stopped at position 24, and goes on with other ranks",
        description="Four ranks with batches of two did three steps, up to position 24. From there "
        "two ranks with batches of four go on with the very steps that would have come; three "
        "ranks with batches of four make other steps of the same positions.",
        width=WIDTH,
        height=396,
    )
    epoch = order().epoch(0)
    y = 50
    runs = [
        ("4 ranks, batch_size=2, as it would have gone on", 4, 2, 0),
        ("2 ranks, batch_size=4: the same 8 positions a step", 2, 4, stop),
        ("3 ranks, batch_size=4: 12 positions a step", 3, 4, stop),
    ]
    for words, total, batch, start in runs:
        plan = Plan(epoch=epoch, batch_size=batch, ranks=total, drop_last=True, start=start)
        y = _run(picture, plan, words, y, count, stop) + 34
    x = 88 + stop * SMALL
    picture.line(x, 34, x, y - 30, "strong")
    picture.text(x, 26, "the state: position 24", "small bold", "middle")
    entries = [(f"lane{lane}", f"lane {lane}") for lane in range(LANES)]
    picture.legend(88, y, entries)
    picture.text(88 + count * SMALL, y, "pale: never done", "small quiet", "end")
    return picture


def _run(picture: Picture, plan: Plan, words: str, y: float, count: int, stop: int) -> float:
    left, each = 88, plan.batch_size * plan.ranks
    at = left + SMALL * plan.start
    picture.text(at + 6 * (plan.start > 0), y, words, "small bold")
    for rank in range(plan.ranks):
        top = y + 27 + 16 * rank
        picture.text(at - 8, top + 11, f"rank {rank}", "small", "end")
        for position in _until(plan, rank, count):
            pale = " faint" if plan.start == 0 and position >= stop else ""
            x = left + position * SMALL + 1
            picture.box(x, top, SMALL - 2, 14, f"lane{position % LANES}{pale}")
    bottom = y + 26 + 16 * plan.ranks
    for step, position in enumerate(range(plan.start, count, each)):
        x = left + position * SMALL
        picture.box(x, y + 10, SMALL * each, bottom - y - 10, "frame")
        picture.text(x + SMALL * each / 2, y + 22, f"step {step}", "small quiet", "middle")
    return bottom


SHARE = 0.3


def mixture() -> Picture:
    """Which source a mixture draws, in four lanes, and how exact its shares are."""
    picture = Picture(
        title="A mixture of two datasets, 0.7 and 0.3, in four lanes",
        description="The first 24 places of each lane with the dataset that is drawn there, and "
        "how many draws of that dataset came before in this lane. Below, how far the count of "
        "dataset B is from its share: it is rounded to it at each border of a block of 256 draws.",
        width=WIDTH,
        height=402,
    )
    sources = (order(np.full(14, 500), seed=1), order(np.full(6, 500), seed=2))
    tree = Group(members=(0, 1), weights=(1 - SHARE, SHARE), until_all=False)
    epoch = Mixture(sources=sources, tree=tree, seed=SEED).epoch(0)
    picture.text(MARGIN, 30, "The first 96 positions, column by column", "bold")
    _drawn(picture, epoch, 88, 42, 24)
    picture.legend(88, 158, [("source0", "dataset A"), ("source1", "dataset B")])
    words = "the number: the row's offset in the same lane of A or B"
    picture.text(88 + 24 * CELL, 158, words, "small quiet", "end")
    _errors(picture, epoch, 88, 4 * BLOCK)
    return picture


def _drawn(picture: Picture, epoch: MixedEpoch, left: float, top: float, places: int) -> None:
    for lane in range(LANES):
        y = top + 24 * lane
        picture.text(left - 8, y + 15, f"lane {lane}", "small", "end")
        positions = np.arange(places) * LANES + lane
        found = zip(*(part.tolist() for part in epoch.drawn(positions)), strict=True)
        for place, (source, at) in enumerate(found):
            x = left + place * CELL + 1
            picture.box(x, y, CELL - 2, 22, f"source{source}", str(at // LANES))


def _errors(picture: Picture, epoch: MixedEpoch, left: float, places: int) -> None:
    """The curve of one lane: draws of B so far, less its share of all."""
    top, height, right = 218, 128, left + 24 * CELL
    picture.text(MARGIN, 196, f"Draws of B in lane 0, less {SHARE} of all draws there", "bold")
    drawn = epoch.drawn(np.arange(places) * LANES)[0]
    error = np.concatenate([[0.0], np.cumsum(drawn == 1)]) - SHARE * np.arange(places + 1)
    most = int(np.ceil(np.abs(error).max()))
    middle, across, down = top + height / 2, (right - left) / places, height / 2 / most
    for value in (-most, 0, most):
        picture.line(left, middle - value * down, right, middle - value * down, "thin")
        picture.text(
            left - 8,
            middle - value * down + 4,
            f"{value:+d}" if value else "0",
            "small quiet",
            "end",
        )
    for border in range(0, places + 1, BLOCK):
        x = left + border * across
        picture.line(x, top, x, top + height + 5, "frame")
        picture.text(x, top + height + 19, f"{border:,}", "small quiet", "middle")
    steps = [next(group) for _, group in groupby(enumerate(error), key=lambda at: at[0] // 2)]
    curve = [(left + at * across, middle - value * down) for at, value in steps]
    picture.curve(curve, "source1")
    words = f"place in the lane; lines are borders of blocks of {BLOCK} draws"
    picture.text((left + right) / 2, top + height + 38, words, "small", "middle")


PICTURES = {
    "lanes": lanes,
    "windows": windows,
    "ranks": ranks,
    "resume": resume,
    "mixture": mixture,
}


def main(folder: Path) -> None:
    """Writes all pictures to a folder."""
    for name, draw in PICTURES.items():
        (folder / f"{name}.svg").write_text(draw().svg(), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
