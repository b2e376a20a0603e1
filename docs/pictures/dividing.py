"""How positions are divided among ranks, from the start or where a run stopped."""

from __future__ import annotations

import numpy as np
from example import CELL, LANES, LEFT, MARGIN, WIDTH, order
from svg import Picture

from millstream.plan import Plan


def ranks() -> Picture:
    """Step 4: which rank reads a position, for several numbers of ranks."""
    count, batch, left = 24, 2, LEFT
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
    x = LEFT + stop * SMALL
    picture.line(x, 34, x, y - 30, "strong")
    picture.text(x, 26, "the state: position 24", "small bold", "middle")
    entries = [(f"lane{lane}", f"lane {lane}") for lane in range(LANES)]
    picture.legend(LEFT, y, entries)
    picture.text(LEFT + count * SMALL, y, "pale: never done", "small quiet", "end")
    return picture


def _run(picture: Picture, plan: Plan, words: str, y: float, count: int, stop: int) -> float:
    left, each = LEFT, plan.batch_size * plan.ranks
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
