"""JpegDecode: images decoded, cropped, resized and flipped in native code, by keyed randomness."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from millstream.errors import UsageError
from millstream.format.codecs import Codec
from millstream.reading.crops import (
    Box,
    Draws,
    center_crop,
    flips,
    random_resized_crop,
    reduction,
    whole,
)
from millstream.reading.images import Opened, open_field
from millstream.reading.reader import Array
from millstream.reading.resizing import (
    METHODS,
    TORCH_METHODS,
    place,
    resize_with_pillow,
    resize_with_torch,
)

Crop = Literal["random_resized", "center"]
Layout = Literal["chw", "hwc"]
Mode = Literal["RGB", "L"]
Resample = Literal["bilinear", "bicubic", "lanczos", "hamming", "box", "nearest"]
Backend = Literal["pillow", "torch"]


@dataclass(frozen=True, slots=True, kw_only=True)
class JpegDecode:
    """How a field of images is decoded: `decode={"image": JpegDecode(size=224, crop="center")}`.

    For JPEG fields, and for PNG, TIFF and other images and for bytes that are JPEG or PNG files.
    A sample has a uint8 array (channels, height, width). With a size a batch has one array, or
    tensor, of all of them; without, a list.

    What is random depends on (seed, epoch, position) in an epoch, on (seed, row) when indexed,
    and on nothing else: not on workers, ranks or the batch size. Fields of one sample draw the
    same numbers, so an image and its mask of the same size are cut alike.

    Args:
        size: (height, width), or one number for both. None: as large as it is.
        crop: "random_resized": a random part, as torchvision's RandomResizedCrop takes it.
            "center": a part in the middle. None: all of it, whatever its proportions.
        scale: The least and largest area of a random part, as parts of the image's.
        ratio: The least and largest width / height of a random part.
        shorter_side: For "center": what remains if the image is resized so that its shorter side
            has so many pixels, and `size` is cut out. None: as much as fits the proportions.
        flip: The probability of mirroring left and right; True is 0.5.
        scale_hint: Whether large JPEGs are decoded at 1/2, 1/4 or 1/8, where what is used has
            `size` pixels even so. Saves time, and changes pixels a little.
        layout: "chw" or "hwc", the order of an array's axes.
        mode: "RGB", or "L" for one channel of grey.
        resample: Pillow's filter: "bilinear", "bicubic", "lanczos", "hamming", "box" or
            "nearest". All but "nearest" are antialiased.
        backend: What resizes: "pillow", or "torch", which takes a third of the time, needs torch
            in each worker, knows "bilinear" and "bicubic", and rounds a little differently.

    Raises:
        UsageError: For arguments that make no sense.
    """

    size: int | tuple[int, int] | None = None
    crop: Crop | None = None
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    shorter_side: int | None = None
    flip: bool | float = False
    scale_hint: bool = True
    layout: Layout = "chw"
    mode: Mode = "RGB"
    resample: Resample = "bilinear"
    backend: Backend = "pillow"

    def __post_init__(self) -> None:
        _check_choices(self)
        _check_geometry(self)

    @property
    def height_width(self) -> tuple[int, int] | None:
        """The size as (height, width)."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size

    @property
    def flip_probability(self) -> float:
        """The probability of mirroring."""
        return 0.5 if self.flip is True else float(self.flip)

    @property
    def is_random(self) -> bool:
        """Whether a row may look different the next time."""
        return self.crop == "random_resized" or 0 < self.flip_probability < 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageDecoder:
    """Decodes the images of one field."""

    settings: JpegDecode
    codec: Codec

    def shape_of(self, height: int, width: int) -> tuple[int, int, int]:
        """The shape of what becomes of an image; the same for all if the settings have a size."""
        height, width = self.settings.height_width or (height, width)
        channels = 1 if self.settings.mode == "L" else 3
        if self.settings.layout == "hwc":
            return height, width, channels
        return channels, height, width

    def decode(self, payload: memoryview, draws: Draws) -> Array:
        """One image; draws: crops.DRAWS numbers in [0, 1).

        Raises CorruptData for what is no image, UnsupportedError for what does not fit uint8.
        """
        opened = open_field(payload, self.codec)
        out = np.empty(self.shape_of(opened.height, opened.width), np.uint8)
        self._into(opened, draws, out)
        return out

    def into(self, payload: memoryview, draws: Draws, out: Array) -> None:
        """The same, written into an array of that shape."""
        self._into(open_field(payload, self.codec), draws, out)

    def _into(self, opened: Opened, draws: Draws, out: Array) -> None:
        settings = self.settings
        size = settings.height_width
        box = _box(settings, opened, draws)
        by = reduction(box, size) if size is not None and settings.scale_hint else 1
        pixels = opened.pixels(settings.mode, by)
        height, width, _ = pixels.shape
        if (height, width) != (opened.height, opened.width):
            box = box.reduced(by, width, height)
        planes = out if settings.layout == "chw" else np.moveaxis(out, -1, 0)
        flip = flips(draws, settings.flip_probability)
        if (box.height, box.width) == planes.shape[1:]:
            rows, columns = box.top + box.height, box.left + box.width
            place(pixels[box.top : rows, box.left : columns], planes, flip=flip)
        elif settings.backend == "torch":
            resize_with_torch(pixels, box, planes, settings.resample, flip=flip)
        else:
            resize_with_pillow(pixels, box, planes, settings.resample, flip=flip)


def _box(settings: JpegDecode, opened: Opened, draws: Draws) -> Box:
    width, height, size = opened.width, opened.height, settings.height_width
    if size is None or settings.crop is None:
        return whole(width, height)
    if settings.crop == "center":
        return center_crop(width, height, size, settings.shorter_side)
    return random_resized_crop(width, height, settings.scale, settings.ratio, draws)


def _check_choices(settings: JpegDecode) -> None:
    methods = TORCH_METHODS if settings.backend == "torch" else METHODS
    for name, value, choices in (
        ("crop", settings.crop, ("random_resized", "center", None)),
        ("layout", settings.layout, ("chw", "hwc")),
        ("mode", settings.mode, ("RGB", "L")),
        ("backend", settings.backend, ("pillow", "torch")),
        ("resample", settings.resample, methods),
    ):
        if value not in choices:
            raise UsageError(
                f"JpegDecode: {name} is {value!r}, expected {' or '.join(map(repr, choices))}; "
                f"backend is {settings.backend!r}"
            )


def _check_geometry(settings: JpegDecode) -> None:
    size = settings.height_width
    if size is not None and not (
        isinstance(size, tuple) and len(size) == 2 and all(map(_is_side, size))
    ):
        raise UsageError(
            f"JpegDecode: size is {settings.size!r}, expected a number from 1, or (height, width)"
        )
    if size is None and settings.crop is not None:
        raise UsageError(f"JpegDecode: crop={settings.crop!r} needs a size")
    if not (_is_range(settings.scale) and settings.scale[1] <= 1):
        raise UsageError(f"JpegDecode: scale is {settings.scale!r}, expected 0 < low <= high <= 1")
    if not _is_range(settings.ratio):
        raise UsageError(f"JpegDecode: ratio is {settings.ratio!r}, expected 0 < low <= high")
    if not (isinstance(settings.flip, bool | int | float) and 0 <= settings.flip <= 1):
        raise UsageError(f"JpegDecode: flip is {settings.flip!r}, expected a probability")
    _check_shorter_side(settings.shorter_side, settings.crop, size)


def _check_shorter_side(
    shorter: int | None, crop: Crop | None, size: tuple[int, int] | None
) -> None:
    if shorter is None:
        return
    if crop != "center" or size is None:
        raise UsageError("JpegDecode: shorter_side is for crop='center'")
    if not _is_side(shorter) or shorter < max(size):
        raise UsageError(
            f"JpegDecode: shorter_side is {shorter!r}, expected a number that {max(size)} pixels "
            "can be cut out of"
        )


def _is_side(value: object) -> bool:
    return type(value) is int and value > 0


def _is_range(value: object) -> bool:
    return (
        isinstance(value, tuple)
        and len(value) == 2
        and all(isinstance(end, int | float) for end in value)
        and 0 < value[0] <= value[1] < math.inf
    )
