"""Which part of an image is used: integers and random numbers in, a box of pixels out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# As torchvision's RandomResizedCrop: so often a box is drawn before the fallback is taken.
ATTEMPTS = 10
# The random numbers of one image: for the flip, for left and top, and two an attempt.
DRAWS = 3 + 2 * ATTEMPTS
# What libjpeg can decode an image smaller by at no loss of speed, the largest first.
REDUCTIONS = (8, 4, 2)

Draws = Sequence[float] | npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A part of an image, in whole pixels; at least one each way."""

    left: int
    top: int
    width: int
    height: int

    def reduced(self, by: int, width: int, height: int) -> Box:
        """This part of the image when that is smaller by a factor, and has this size."""
        across, down = _side(self.width / by, width), _side(self.height / by, height)
        return Box(
            left=min(round(self.left / by), width - across),
            top=min(round(self.top / by), height - down),
            width=across,
            height=down,
        )


def whole(width: int, height: int) -> Box:
    """All of an image."""
    return Box(left=0, top=0, width=width, height=height)


def flips(draws: Draws, probability: float) -> bool:
    """Whether an image is mirrored."""
    return bool(draws[0] < probability)


def random_resized_crop(
    width: int,
    height: int,
    scale: tuple[float, float],
    ratio: tuple[float, float],
    draws: Draws,
) -> Box:
    """A box with the distribution of torchvision's RandomResizedCrop (Szegedy et al. 2014).

    Its area, as a part of the image's, is uniform in `scale`; the logarithm of its width over
    its height is uniform in that of `ratio`; its place is uniform. A box that does not fit is
    drawn again. After ten the largest box in the middle with a ratio in `ratio` is taken.

    draws: DRAWS numbers in [0, 1); the same numbers give the same box.
    """
    slim, wide = math.log(ratio[0]), math.log(ratio[1])
    for attempt in range(ATTEMPTS):
        for_area, for_ratio = draws[3 + 2 * attempt], draws[4 + 2 * attempt]
        area = width * height * (scale[0] + (scale[1] - scale[0]) * for_area)
        aspect = math.exp(slim + (wide - slim) * for_ratio)
        across, down = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < across <= width and 0 < down <= height:
            return Box(
                left=int(draws[1] * (width - across + 1)),
                top=int(draws[2] * (height - down + 1)),
                width=across,
                height=down,
            )
    return _fallback(width, height, ratio)


def _fallback(width: int, height: int, ratio: tuple[float, float]) -> Box:
    across, down = width, height
    if width / height < ratio[0]:
        down = _side(width / ratio[0], height)
    elif width / height > ratio[1]:
        across = _side(height * ratio[1], width)
    return _middle(width, height, across, down)


def center_crop(width: int, height: int, size: tuple[int, int], shorter_side: int | None) -> Box:
    """The box in the middle that becomes an image of `size` (height, width).

    With a shorter side S it has size x (the image's shorter side) / S pixels: what remains of
    the image if its shorter side is resized to S and `size` is cut out of the middle. Without
    one it is the largest box with the proportions of `size`. Sides are rounded.
    """
    down, across = size
    if shorter_side is None:
        enlarged = min(width / across, height / down)
    else:
        enlarged = min(width, height) / shorter_side
    return _middle(width, height, _side(across * enlarged, width), _side(down * enlarged, height))


def reduction(box: Box, size: tuple[int, int]) -> int:
    """By how much the image may be smaller while a box has the pixels of `size` (height, width).

    1, 2, 4 or 8. Other factors of libjpeg take longer than to decode all pixels.
    """
    for by in REDUCTIONS:
        if box.height >= by * size[0] and box.width >= by * size[1]:
            return by
    return 1


def _middle(width: int, height: int, across: int, down: int) -> Box:
    return Box(left=(width - across) // 2, top=(height - down) // 2, width=across, height=down)


def _side(length: float, most: int) -> int:
    return min(max(round(length), 1), most)
