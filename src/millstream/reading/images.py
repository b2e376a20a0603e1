"""Image files -> pixels, by whichever decoder is fastest and gives the same.

simplejpeg is used for what it and Pillow decode alike, bit by bit: both hold libjpeg-turbo. What
it does not take, or warns of, is Pillow's to decode or to refuse. So it can be missing: that
costs time and changes no pixel.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from millstream.errors import CorruptData, UnsupportedError
from millstream.format.codecs import Codec, ImageFile, Pixels
from millstream.format.codecs.image_file import open_image
from millstream.format.codecs.recoding import pillow
from millstream.reading.reader import Array

# What a field of plain bytes may hold.
CONTAINERS = ("JPEG", "PNG")

# What simplejpeg calls the colours that it and Pillow decode alike; CMYK is not among them.
_ALIKE = {"Gray", "YCbCr", "RGB"}
# More than 8 bits a channel, which a conversion would cut off.
_DEEP = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """An image whose pixels have not been decoded yet.

    image: as Pillow opened it; None if simplejpeg is asked first.
    """

    payload: memoryview
    codec: Codec
    width: int
    height: int
    image: Any = None

    def pixels(self, mode: str, reduced: int = 1) -> Array:
        """uint8 (height, width, 3) for "RGB", (height, width, 1) for "L".

        reduced: 2, 4 or 8 for an image so many times smaller, sides rounded up, where the file
        format gives that in less time. Raises CorruptData for an image that is cut off.
        """
        if self.image is None:
            height, width = -(-self.height // reduced), -(-self.width // reduced)
            found = _turbo_pixels(self.payload, mode, height, width)
            if found is not None:
                return found
            return _pillow_pixels(_pillow_image(self.payload, self.codec), mode, reduced)
        return _pillow_pixels(self.image, mode, reduced)


def open_field(payload: memoryview, codec: Codec) -> Opened:
    """An image as its field's codec stores it, or a JPEG or PNG file in a field of bytes.

    Raises CorruptData for what is no image, UnsupportedError for one without pixels.
    """
    found = _turbo_header(payload) if _may_be_jpeg(codec) else None
    if found is not None:
        height, width, _ = found
        return Opened(payload=payload, codec=codec, width=width, height=height)
    image = _pillow_image(payload, codec)
    if not (image.width and image.height):
        raise UnsupportedError(f"an image of {image.width} x {image.height} pixels shows nothing")
    return Opened(payload=payload, codec=codec, width=image.width, height=image.height, image=image)


def pixels_as_stored(payload: memoryview, codec: Codec) -> Array:
    """uint8 (height, width, channels), or (height, width) for one: what numpy makes of Pillow's.

    Other modes than 8 bits a channel keep Pillow's dtype.
    """
    found = _turbo_header(payload) if _may_be_jpeg(codec) else None
    if found is not None:
        height, width, gray = found
        pixels = _turbo_pixels(payload, "L" if gray else "RGB", height, width)
        if pixels is not None:
            return pixels[..., 0] if gray else pixels
    return _loaded(_pillow_image(payload, codec))


def _may_be_jpeg(codec: Codec) -> bool:
    if isinstance(codec, ImageFile):
        return codec.container == "JPEG"
    return not isinstance(codec, Pixels)


# simplejpeg ----------------------------------------------------------------------------------


@cache
def _turbo() -> Any:
    """The module simplejpeg, or None."""
    try:
        return importlib.import_module("simplejpeg")
    except ImportError:
        return None


def _turbo_header(payload: memoryview) -> tuple[int, int, bool] | None:
    """Height, width, whether gray, of a JPEG file; None for one that Pillow has to see."""
    turbo = _turbo()
    if turbo is None:
        return None
    try:
        height, width, colours, _ = turbo.decode_jpeg_header(payload)
    except ValueError:
        return None
    limit = pillow().MAX_IMAGE_PIXELS  # Pillow warns of more, and refuses twice as many
    if colours not in _ALIKE or (limit is not None and width * height > limit):
        return None
    return height, width, colours == "Gray"


def _turbo_pixels(payload: memoryview, mode: str, height: int, width: int) -> Array | None:
    """Pixels of at least this size, as few as can be; None for what Pillow has to judge."""
    try:
        found: Array = _turbo().decode_jpeg(
            payload, "GRAY" if mode == "L" else "RGB", min_height=height, min_width=width
        )
    except ValueError:
        return None
    return found


# Pillow --------------------------------------------------------------------------------------


def _pillow_image(payload: memoryview, codec: Codec) -> Any:
    if isinstance(codec, ImageFile | Pixels):
        return codec.decode(payload)
    return open_image(payload, CONTAINERS)


def _pillow_pixels(image: Any, mode: str, reduced: int) -> Array:
    if image.mode in _DEEP:
        raise UnsupportedError(
            f"an image of mode {image.mode} has more than 8 bits a channel, and JpegDecode gives "
            "uint8; use decode={field: 'numpy'}"
        )
    if image.format in ("JPEG", "MPO") and image.mode in ("RGB", "L"):
        # Grey of a colour file is its own brightness channel; the colours are not decoded.
        image.draft(mode, (image.width // reduced, image.height // reduced))
    pixels = _loaded(image if image.mode == mode else _converted(image, mode))
    return pixels[..., None] if mode == "L" else pixels


def _converted(image: Any, mode: str) -> Any:
    _load(image)
    try:
        return image.convert(mode)
    except ValueError as error:
        raise UnsupportedError(
            f"Pillow cannot make {mode} of an image of mode {image.mode} ({error}); use "
            "decode={field: 'pil'}"
        ) from None


def _loaded(image: Any) -> Array:
    _load(image)
    return np.array(image)


def _load(image: Any) -> None:
    try:
        image.load()
    except (OSError, ValueError, SyntaxError) as error:
        raise CorruptData(f"not a readable {image.format} image: {error}") from None
