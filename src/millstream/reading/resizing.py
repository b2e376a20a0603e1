"""A part of an image in another size, antialiased, written where it is wanted."""

from __future__ import annotations

from typing import Any

import numpy as np

from millstream import interop
from millstream.format.codecs.recoding import pillow
from millstream.reading.crops import Box
from millstream.reading.reader import Array

# As Pillow calls them, in lower case.
METHODS = ("bilinear", "bicubic", "lanczos", "hamming", "box", "nearest")
TORCH_METHODS = ("bilinear", "bicubic")


def resize_with_pillow(pixels: Array, box: Box, out: Array, method: str, *, flip: bool) -> None:
    """Cuts a box out of uint8 pixels (height, width, 1 or 3), C-contiguous, and resizes it.

    Just as `image.crop(box).resize(size)` does. out: uint8 (channels, height, width), any strides.
    """
    image = pillow()
    cut = _cut(image, pixels, box)
    resized = cut.resize(out.shape[:0:-1], getattr(image.Resampling, method.upper()))
    if len(out) == 1:
        place(np.asarray(resized)[..., None], out, flip=flip)
    elif out.strides[2] != 1:
        place(np.asarray(resized), out, flip=flip)
    else:
        _place_words(resized, out, flip=flip)


def resize_with_torch(pixels: Array, box: Box, out: Array, method: str, *, flip: bool) -> None:
    """The same by torch, which is faster; its pixels differ from Pillow's by 2 at most."""
    cut = pixels[box.top : box.top + box.height, box.left : box.left + box.width]
    size = (out.shape[1], out.shape[2])
    resized = interop.torch().resized(np.ascontiguousarray(cut), size, method)
    place(resized, out, flip=flip)


def place(pixels: Array, out: Array, *, flip: bool) -> None:
    """Writes pixels (height, width, channels) as (channels, height, width), perhaps mirrored."""
    mirrored = pixels[:, ::-1] if flip else pixels
    np.copyto(out, np.moveaxis(mirrored, -1, 0))


def _cut(image: Any, pixels: Array, box: Box) -> Any:
    _, width, channels = pixels.shape
    if channels == 1:  # Pillow maps grey without a copy, and then wants whole lines
        cut = pixels[box.top : box.top + box.height, box.left : box.left + box.width, 0]
        return image.fromarray(np.ascontiguousarray(cut))
    lines = pixels.data.cast("B")[(box.top * width + box.left) * channels :]
    return image.frombuffer("RGB", (box.width, box.height), lines, "raw", "RGB", 3 * width, 1)


def _place_words(resized: Any, out: Array, *, flip: bool) -> None:
    """The same as `place` for an RGB image of Pillow's, in less time.

    Its pixels are words of four bytes: to mirror words and to shift them is what numpy does fast.
    """
    words = np.frombuffer(resized.tobytes("raw", "RGBX"), "<u4").reshape(out.shape[1:])
    words = np.ascontiguousarray(words[:, ::-1]) if flip else words
    for channel, plane in enumerate(out):
        np.copyto(plane, words >> np.uint32(8 * channel), casting="unsafe")
