"""How a mixture draws its datasets."""

from __future__ import annotations

from itertools import groupby

import numpy as np
from example import CELL, LANES, LEFT, MARGIN, SEED, WIDTH, order
from svg import Picture

from millstream.plan import Group, MixedEpoch, Mixture
from millstream.plan.schedule import BLOCK

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
    _drawn(picture, epoch, LEFT, 42, 24)
    picture.legend(LEFT, 158, [("source0", "dataset A"), ("source1", "dataset B")])
    words = "the number: the row's offset in the same lane of A or B"
    picture.text(LEFT + 24 * CELL, 158, words, "small quiet", "end")
    _errors(picture, epoch, LEFT, 4 * BLOCK)
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
