"""Images encoded anew as JPEG files: made smaller, turned upright, of a chosen quality."""

from __future__ import annotations

import importlib
import io
from typing import Any

import numpy as np

from millstream.errors import SampleError, UnsupportedError, UsageError

# What the container of an image is called that has no file.
PIXELS = "PIXELS"

DEFAULT_QUALITY = 90
_CONTAINERS = ("JPEG", "PNG", "TIFF")
# Cameras write several pictures into one JPEG file; Pillow calls that one MPO.
_JPEGS = ("JPEG", "MPO")
# Modes of Pillow with more than 8 bits a channel, which a JPEG file cannot hold.
_DEEP = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")
_CHANNELS = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
# A JPEG is decoded at 1/2, 1/4 or 1/8 of its size only if each side is then so many times that
# of the result or more: the filter that follows hides what this leaves out.
_GAP = 2
_ORIENTATION = 0x0112
# What turns an image upright, by its EXIF orientation, as Pillow's Transpose calls it.
_UPRIGHT = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}


def pillow() -> Any:
    """The module PIL.Image; raises UnsupportedError if Pillow is not installed."""
    try:
        return importlib.import_module("PIL.Image")
    except ImportError:
        raise UnsupportedError(
            "this field holds images and Pillow is not installed: pip install "
            "'millstream[images]', or read the stored bytes with decode={field: 'bytes'}"
        ) from None


def check_knobs(quality: object, max_side: object) -> None:
    """Raises UsageError for values that make no sense."""
    if quality is not None and (type(quality) is not int or not 1 <= quality <= 100):
        raise UsageError(f"quality is {quality!r}, expected a number from 1 to 100")
    if max_side is not None and (type(max_side) is not int or max_side < 1):
        raise UsageError(f"max_side is {max_side!r}, expected a number of pixels from 1")


def check_pixels(array: Any) -> None:
    """Raises SampleError unless this is an array of the pixels of an image."""
    pixel_mode(array)


def pixel_mode(array: Any) -> str:
    """What Pillow calls the pixels of an array; raises SampleError for what has none."""
    if isinstance(array, np.ndarray) and array.size:
        if array.ndim == 2 and array.dtype.kind == "u" and array.itemsize == 2:
            return "I;16"
        channels = array.shape[2] if array.ndim == 3 else 1
        if array.dtype == np.uint8 and array.ndim in (2, 3) and channels in _CHANNELS:
            return _CHANNELS[channels]
    shown = f"shape {array.shape}, {array.dtype}" if hasattr(array, "dtype") else repr(array)[:40]
    raise SampleError(
        f"the pixels of an image are a numpy array, uint8 or uint16 (height, width), or uint8 "
        f"(height, width, 1 to 4 channels); got a {type(array).__name__}, {shown}"
    )


def jpeg_of(image: Any, quality: int | None, max_side: int | None, name: str) -> bytes | None:
    """A JPEG file of an image file's bytes, or of an array; None if it is one that will do.

    name: what an error calls it. Raises SampleError for what cannot be decoded.
    """
    library = pillow()
    try:
        if isinstance(image, np.ndarray):
            opened = library.fromarray(image if image.shape[2:] != (1,) else image[..., 0])
        else:
            opened = library.open(io.BytesIO(image), formats=_CONTAINERS)
        return _encoded(opened, quality, max_side)
    except UnsupportedError as error:
        raise SampleError(f"{name}: {error}") from None
    except (OSError, ValueError, SyntaxError, library.DecompressionBombError) as error:
        raise SampleError(f"{name} is not a readable image: {error}") from None


def smaller(size: tuple[int, int], max_side: int | None) -> tuple[int, int]:
    """A width and a height, made smaller so that the longer of them is at most max_side."""
    longer = max(size)
    if max_side is None or longer <= max_side:
        return size
    width, height = (max(1, round(side * max_side / longer)) for side in size)
    return width, height


def turn_of(image: Any) -> Any:
    """Which way an image has to be turned to be upright, by its EXIF orientation; None for none."""
    name = _UPRIGHT.get(image.getexif().get(_ORIENTATION, 1))
    return None if name is None else getattr(pillow().Transpose, name)


def as_eight_bits(image: Any) -> Any:
    """An image in mode "L" or "RGB", as `Image.convert` makes it of others.

    Raises UnsupportedError for one with more than 8 bits a channel.
    """
    if image.mode in _DEEP:
        raise UnsupportedError(
            f"an image of mode {image.mode} has more than 8 bits a channel, which JPEG cannot hold"
        )
    if image.mode in ("L", "RGB"):
        return image
    return image.convert("L" if image.mode in ("1", "LA", "La") else "RGB")


def _encoded(image: Any, quality: int | None, max_side: int | None) -> bytes | None:
    size, turn = smaller(image.size, max_side), turn_of(image)
    is_small = size == image.size and image.format in _JPEGS
    if quality is None and turn is None and is_small:
        return None
    made = _resized(image, size)
    if turn is not None:
        made = made.transpose(turn)
    out = io.BytesIO()
    # Huffman tables of the image's own: a few percent smaller, and as quick to read.
    made.save(out, "JPEG", quality=quality or DEFAULT_QUALITY, optimize=True)
    return out.getvalue()


def _resized(image: Any, size: tuple[int, int]) -> Any:
    """An image in 8 bits a channel; what a JPEG has too much for its size is not decoded."""
    box = (0, 0, *image.size)
    if size != image.size and image.format in _JPEGS:
        _, box = image.draft(None, (_GAP * size[0], _GAP * size[1])) or (None, box)
    decoded = as_eight_bits(image)
    if size == decoded.size:
        return decoded
    return decoded.resize(size, pillow().Resampling.LANCZOS, box=box)
