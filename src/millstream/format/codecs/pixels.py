"""Images without a file of their own, of Pillow or arrays: losslessly, and not compressed.

Layout: u32 length of a JSON object {"mode", "size": [width, height], "palette": its mode or
null, "entries": bytes of palette, "transparency"}, that object, the palette, the pixels as
`Image.tobytes` gives them. Little-endian.
"""

from __future__ import annotations

import json
import struct
import sys
from typing import Any

from millstream.errors import CorruptData
from millstream.format.codecs.codec import BlobCodec
from millstream.format.codecs.files import Image
from millstream.format.codecs.recoding import PIXELS, pillow, pixel_mode

_MODES = frozenset(
    {"1", "L", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I", "F", "LA", "PA"}
    | {"RGBX", "RGBa", "La", "I;16", "I;16L", "I;16B"}
)
_LENGTH = struct.Struct("<I")


def same_pixels(one: Any, other: Any) -> bool:
    """Whether two images look the same: mode, size, palette and pixels."""
    return bool(
        one.mode == other.mode
        and one.size == other.size
        and one.getpalette() == other.getpalette()
        and one.tobytes() == other.tobytes()
    )


class Pixels(BlobCodec):
    """Any PIL image of a usual mode, or array of pixels; comes back as a plain Image."""

    kind = "pil"

    def describe(self, value: Any) -> str | None:
        if isinstance(value, Image):
            return "" if value.container == PIXELS else None
        images = sys.modules.get("PIL.Image")
        if images is None or not isinstance(value, images.Image):
            return None
        return "" if value.mode in _MODES else None

    def encode(self, value: Any) -> bytes:
        if isinstance(value, Image):
            return _encode_array(value.array)
        value.load()
        palette = value.palette
        entries = palette.tobytes() if palette is not None else b""
        head = {
            "mode": value.mode,
            "size": list(value.size),
            "palette": palette.mode if palette is not None else None,
            "entries": len(entries),
            "transparency": _transparency_to_json(value.info.get("transparency")),
        }
        return _joined(head, entries, value.tobytes())

    def decode(self, payload: memoryview) -> Any:
        try:
            return _decode(payload)
        except (struct.error, ValueError, KeyError, TypeError, RecursionError) as error:
            raise CorruptData(f"not the pixels of an image: {error}") from None


def _encode_array(array: Any) -> bytes:
    """An array of pixels as if Pillow had them."""
    height, width = array.shape[:2]
    head = {
        "mode": pixel_mode(array),
        "size": [width, height],
        "palette": None,
        "entries": 0,
        "transparency": None,
    }
    return _joined(head, b"", array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())


def _joined(head: dict[str, Any], entries: bytes, pixels: bytes) -> bytes:
    text = json.dumps(head, separators=(",", ":")).encode()
    return b"".join([_LENGTH.pack(len(text)), text, entries, pixels])


def _decode(payload: memoryview) -> Any:
    (length,) = _LENGTH.unpack_from(payload)
    head = json.loads(bytes(payload[4 : 4 + length]))
    if head["mode"] not in _MODES:
        raise ValueError(f"unknown mode {head['mode']!r}")
    width, height = head["size"]
    entries = head["entries"]
    start = 4 + length + entries
    # Pillow allocates width x height before it looks at the data: bound it by what is here.
    if min(width, height, entries) < 0 or width * height > 8 * len(payload):
        raise ValueError(f"{width} x {height} pixels from {len(payload)} bytes")
    image = pillow().frombytes(head["mode"], (width, height), bytes(payload[start:]))
    if head["palette"] is not None:
        image.putpalette(bytes(payload[4 + length : start]), head["palette"])
    transparency = _transparency_from_json(head["transparency"])
    if transparency is not None:
        image.info["transparency"] = transparency
    return image


def _transparency_to_json(value: Any) -> Any:
    return {"hex": value.hex()} if isinstance(value, bytes) else value


def _transparency_from_json(value: Any) -> Any:
    if isinstance(value, dict):
        return bytes.fromhex(value["hex"])
    return tuple(value) if isinstance(value, list) else value
