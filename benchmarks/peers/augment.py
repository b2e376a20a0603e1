"""The transform of W3 in Pillow: decode, RandomResizedCrop(224), flip."""

from __future__ import annotations

import io
import math
import random
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

SIZE = 224
SCALE = (0.08, 1.0)
RATIO = (3 / 4, 4 / 3)
TRIES = 10

Box = tuple[int, int, int, int]


def augment(jpeg: bytes) -> npt.NDArray[np.uint8]:
    """uint8, (3, 224, 224)."""
    image = Image.open(io.BytesIO(jpeg)).convert("RGB")
    return cropped(image, random_box(*image.size))


def cropped(image: Image.Image, box: Box) -> npt.NDArray[np.uint8]:
    """A part of an image, scaled, and mirrored half of the times."""
    scaled = image.resize((SIZE, SIZE), Image.Resampling.BILINEAR, box=box)
    pixels = np.asarray(scaled)
    if random.random() < 0.5:
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def random_box(width: int, height: int) -> Box:
    """As torchvision's RandomResizedCrop draws it: left, top, right, bottom."""
    low, high = map(math.log, RATIO)
    for _ in range(TRIES):
        area = width * height * random.uniform(*SCALE)
        ratio = math.exp(random.uniform(low, high))
        across, down = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < across <= width and 0 < down <= height:
            left, top = random.randint(0, width - across), random.randint(0, height - down)
            return left, top, left + across, top + down
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


def augment_sample(sample: dict[str, Any]) -> dict[str, Any]:
    """A sample with its image augmented."""
    return {"image": augment(sample["image"]), "label": sample["label"]}
