"""Which part of an image is used: always inside it, and distributed as it is documented."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from millstream.plan import decoding_keys, uniforms
from millstream.reading.crops import (
    ATTEMPTS,
    DRAWS,
    Box,
    center_crop,
    random_resized_crop,
    reduction,
    whole,
)

sides = st.integers(1, 3000)
draws = st.lists(
    st.floats(0, 1, exclude_max=True, allow_subnormal=False), min_size=DRAWS, max_size=DRAWS
)
scales = st.tuples(st.floats(0.001, 1), st.floats(0.001, 1)).map(lambda pair: tuple(sorted(pair)))
ratios = st.tuples(st.floats(0.05, 20), st.floats(0.05, 20)).map(lambda pair: tuple(sorted(pair)))


def is_inside(box: Box, width: int, height: int) -> bool:
    return (
        box.width >= 1
        and box.height >= 1
        and 0 <= box.left <= width - box.width
        and 0 <= box.top <= height - box.height
    )


@given(sides, sides, scales, ratios, draws)
@example(1, 3000, (0.08, 1.0), (0.75, 4 / 3), [0.999] * DRAWS)
@example(3000, 1, (0.08, 1.0), (0.75, 4 / 3), [0.0] * DRAWS)
@example(1, 9, (1.0, 1.0), (10.0, 20.0), [0.5] * DRAWS)
def test_a_random_box_is_inside_the_image(width, height, scale, ratio, numbers) -> None:
    box = random_resized_crop(width, height, scale, ratio, numbers)
    assert is_inside(box, width, height)


@given(sides, sides, sides, sides, st.none() | st.integers(1, 4000))
def test_a_box_in_the_middle_is_inside_and_in_the_middle(width, height, down, across, shorter):
    shorter = None if shorter is None else max(shorter, down, across)
    box = center_crop(width, height, (down, across), shorter)
    assert is_inside(box, width, height)
    assert abs(2 * box.left + box.width - width) <= 1
    assert abs(2 * box.top + box.height - height) <= 1


@pytest.mark.parametrize(
    ("image", "size", "shorter", "expected"),
    [
        ((500, 375), (224, 224), 256, (86, 23, 328, 328)),  # 375 * 224 / 256 = 328.1
        ((500, 375), (224, 224), 224, (62, 0, 375, 375)),
        ((500, 375), (224, 224), None, (62, 0, 375, 375)),
        ((500, 375), (100, 200), None, (0, 62, 500, 250)),
        ((100, 50), (224, 224), 256, (28, 3, 44, 44)),  # smaller than what it becomes
    ],
)
def test_the_box_in_the_middle(image, size, shorter, expected) -> None:
    box = center_crop(*image, size, shorter)
    assert (box.left, box.top, box.width, box.height) == expected


@given(sides, sides, sides, sides, scales, draws)
def test_a_reduced_image_still_has_the_pixels(width, height, down, across, scale, numbers) -> None:
    box = random_resized_crop(width, height, scale, (0.5, 2.0), numbers)
    by = reduction(box, (down, across))
    if by == 1:
        assert box.width < 2 * across or box.height < 2 * down
        return
    smaller = -(-width // by), -(-height // by)
    part = box.reduced(by, *smaller)
    assert is_inside(part, *smaller)
    assert part.width >= across
    assert part.height >= down
    assert abs(part.left * by - box.left) <= by
    assert abs(part.top * by - box.top) <= by


def test_all_of_an_image() -> None:
    assert whole(3, 2) == Box(left=0, top=0, width=3, height=2)
    assert [reduction(whole(n * 10, n * 10), (10, 10)) for n in (1, 2, 3, 4, 7, 8, 99)] == [
        1, 2, 2, 4, 4, 8, 8
    ]  # fmt: skip


# The distribution -----------------------------------------------------------------------------

SCALE, RATIO = (0.08, 1.0), (3 / 4, 4 / 3)
COUNT = 20_000


def by_the_formula(width: int, height: int) -> np.ndarray:
    """Boxes by torchvision's documented rule, all attempts at once: (COUNT, 4), x, y, w, h.

    Area uniform in SCALE, log of the ratio uniform, the first of ten that fits; NaN if none does.
    """
    rng = np.random.default_rng(20)
    area = width * height * rng.uniform(*SCALE, (COUNT, ATTEMPTS))
    aspect = np.exp(rng.uniform(np.log(RATIO[0]), np.log(RATIO[1]), (COUNT, ATTEMPTS)))
    across, down = np.rint(np.sqrt(area * aspect)), np.rint(np.sqrt(area / aspect))
    fits = (across <= width) & (down <= height) & (across > 0) & (down > 0)
    first = (np.arange(COUNT), np.argmax(fits, axis=1))
    across, down = across[first], down[first]
    left = np.floor(rng.random(COUNT) * (width - across + 1))
    top = np.floor(rng.random(COUNT) * (height - down + 1))
    boxes = np.stack([left, top, across, down], axis=1)
    boxes[~fits.any(axis=1)] = np.nan
    return boxes


def ours(width: int, height: int) -> np.ndarray:
    numbers = uniforms(decoding_keys(7, 0, np.arange(COUNT)), DRAWS)
    boxes = [random_resized_crop(width, height, SCALE, RATIO, row) for row in numbers]
    return np.array([[box.left, box.top, box.width, box.height] for box in boxes], float)


def distance(one: np.ndarray, other: np.ndarray) -> float:
    """The Kolmogorov-Smirnov statistic: the largest gap between two distributions."""
    both = np.sort(np.concatenate([one, other]))
    shares = [np.searchsorted(np.sort(x), both, side="right") / len(x) for x in (one, other)]
    return float(np.abs(shares[0] - shares[1]).max())


def measures(boxes: np.ndarray, width: int, height: int) -> dict[str, np.ndarray]:
    x, y, w, h = boxes.T
    return {
        "area": w * h / (width * height),
        "ratio": np.log(w / h),
        "left": (x + 0.5) / (width - w + 1),
        "top": (y + 0.5) / (height - h + 1),
        "right": x + w,
        "bottom": y + h,
    }


# Two samples of one distribution are further apart than this once in a hundred times.
LIMIT = 1.63 * math.sqrt(2 / COUNT)


@pytest.mark.parametrize(("width", "height"), [(500, 375), (375, 500), (2000, 2000), (700, 300)])
def test_random_boxes_are_distributed_as_those_of_the_formula(width: int, height: int) -> None:
    expected, found = by_the_formula(width, height), ours(width, height)
    fallback = np.isnan(expected[:, 0])
    assert fallback.mean() < 0.02  # too few to be seen below
    ours_measured = measures(found, width, height)
    for name, values in measures(expected[~fallback], width, height).items():
        assert distance(values, ours_measured[name]) < LIMIT, name


def test_another_distribution_would_be_seen() -> None:
    boxes = by_the_formula(2000, 2000)
    area = measures(boxes[~np.isnan(boxes[:, 0])], 2000, 2000)["area"]
    rng = np.random.default_rng(3)
    assert distance(area, np.exp(rng.uniform(np.log(0.08), 0, COUNT))) > 5 * LIMIT
    assert distance(area, area**1.1) > LIMIT


def test_what_never_fits_is_cut_from_the_middle() -> None:
    numbers = [0.9] * DRAWS
    box = random_resized_crop(1000, 100, (0.9, 1.0), RATIO, numbers)
    assert (box.left, box.top, box.width, box.height) == (433, 0, 133, 100)
    box = random_resized_crop(100, 1000, (0.9, 1.0), RATIO, numbers)
    assert (box.left, box.top, box.width, box.height) == (0, 433, 100, 133)
    assert random_resized_crop(100, 90, (1.0, 1.0), (2.0, 2.0), numbers).height == 50
