"""Images for tests, and what Pillow alone makes of them."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from millstream.format.codecs import Binary, Codec, ImageFile, Pixels
from millstream.reading.crops import Box

CODECS: dict[str, Codec] = {
    "jpeg": ImageFile("jpeg", "JPEG"),
    "png": ImageFile("png", "PNG"),
    "bytes": Binary(),
    "pil": Pixels(),
}


def scene(width: int, height: int, seed: int = 0) -> Image.Image:
    """Smooth colours with edges and a little noise, so that every filter and phase shows."""
    rng = np.random.default_rng([seed, width, height])
    x, y = np.meshgrid(np.linspace(0, 7, width), np.linspace(0, 7, height))
    waves = [np.sin(x * a + y * b) for a, b in rng.uniform(-3, 3, (3, 2))]
    pixels = 128 + 90 * np.stack(waves, axis=-1) + rng.normal(0, 6, (height, width, 3))
    pixels[(x > 2) & (x < 3) & (y > 1)] = rng.integers(0, 256, 3)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def encoded(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    """The bytes of an image file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def by_pillow(
    content: bytes,
    box: Box | None,
    size: tuple[int, int] | None,
    *,
    mode: str = "RGB",
    flip: bool = False,
    resample: Image.Resampling = Image.Resampling.BILINEAR,
    prepare: Callable[[Any], None] = lambda image: None,
) -> np.ndarray:
    """(height, width, channels): decoded whole, cut, resized to (height, width), mirrored."""
    image = Image.open(io.BytesIO(content))
    prepare(image)
    image = image if image.mode == mode else image.convert(mode)
    if box is not None:
        image = image.crop((box.left, box.top, box.left + box.width, box.top + box.height))
    if size is not None:
        image = image.resize(size[::-1], resample)
    pixels = np.array(image if not flip else image.transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    return pixels if pixels.ndim == 3 else pixels[..., None]


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    """How close 8-bit pixels are, in dB; infinite for equal ones."""
    error = float(np.mean((one.astype(float) - other.astype(float)) ** 2))
    return float("inf") if error == 0 else 10 * float(np.log10(255**2 / error))
