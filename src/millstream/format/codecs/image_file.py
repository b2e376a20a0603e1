"""Image files kept as their original bytes: JPEG, PNG and TIFF, as opened by Pillow or by name.

A sample holds `PIL.Image.open(path)`, `Image` or `Jpeg`; the dataset holds the file's bytes, never
encoded again. An image that was changed after it was opened (`thumbnail`, `draft`, a drawing) no
longer is its file: it is stored as pixels, losslessly.
"""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import Any

from millstream.errors import CorruptData
from millstream.format.codecs.codec import BlobCodec, Source
from millstream.format.codecs.files import Image, content_of, source_of
from millstream.format.codecs.pixels import same_pixels
from millstream.format.codecs.recoding import pillow


class ImageFile(BlobCodec):
    """One file format. kind: as the schema calls it; container: as Pillow calls it."""

    def __init__(self, kind: str, container: str) -> None:
        self.kind = kind
        self.container = container

    def describe(self, value: Any) -> str | None:
        if isinstance(value, Image):
            return "" if value.container == self.container else None
        return "" if self._is_ours(value) and _is_unchanged(value) else None

    def _is_ours(self, value: Any) -> bool:
        files = sys.modules.get("PIL.ImageFile")
        if files is None or not isinstance(value, files.ImageFile):
            return False
        # Cameras write several pictures into one JPEG file; Pillow calls that one MPO.
        named = "JPEG" if value.format == "MPO" else value.format
        return bool(named == self.container)

    def source(self, value: Any) -> Source | None:
        return value.source if isinstance(value, Image) else _opened(value)

    def encode(self, value: Any) -> bytes:
        return content_of(value) if isinstance(value, Image) else _file_bytes(value)

    def decode(self, payload: memoryview) -> Any:
        """A PIL image, opened as this format only; its pixels are decoded at first use."""
        return open_image(payload, (self.container,))


def open_image(payload: memoryview, containers: tuple[str, ...]) -> Any:
    """A PIL image, opened as one of these formats only, as Pillow calls them; or CorruptData."""
    image = pillow()
    try:
        return image.open(io.BytesIO(payload), formats=containers)
    except (OSError, ValueError, SyntaxError, image.DecompressionBombError) as error:
        names = " or ".join(containers)
        raise CorruptData(f"not a readable {names} image: {error}") from None


def _is_unchanged(value: Any) -> bool:
    if value.tile:  # not decoded yet: the file is what it was, unless a draft was asked for
        return value.fp is not None and not getattr(value, "decoderconfig", ())
    try:
        original = pillow().open(io.BytesIO(_file_bytes(value)))
    except OSError:
        return False
    return same_pixels(original, value)


def _opened(value: Any) -> Source | None:
    """The file that an image of Pillow was opened from by its path."""
    if not isinstance(value.filename, str) or not value.filename:
        return None
    try:
        at = value.filename if value.fp is None else value.fp.fileno()
        return source_of(value.filename, os.stat(at))  # noqa: PTH116 - an open file has no path
    except (OSError, AttributeError):  # it is no file, or is gone
        return None


def _file_bytes(value: Any) -> bytes:
    if value.fp is None:
        return Path(value.filename).read_bytes()
    place = value.fp.tell()
    value.fp.seek(0)
    content: bytes = value.fp.read()
    value.fp.seek(place)
    return content
