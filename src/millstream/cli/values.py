"""One value of a sample: as a line, in full, as JSON, or as the bytes of a file."""

from __future__ import annotations

import io
import json
import math
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import numpy as np
import numpy.typing as npt

from millstream import interop
from millstream.cli.show import plural, shorten
from millstream.errors import UsageError
from millstream.format import Codec, Field
from millstream.format.codecs import ArrayCodec, BlobCodec, Closed, Tensor
from millstream.units import size_text

IMAGES = ("jpeg", "png", "tiff", "pil")
BYTES = ("bytes", "audio", "video")
# Arrays of more values than this are described by their first few.
MOST_VALUES = 1_000
FIRST_VALUES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """A field's value as it is stored: an array, or the payload's bytes.

    opens_pickles: whether a pickled value may be unpickled.
    """

    field: Field
    codec: Codec
    stored: npt.NDArray[Any] | bytes
    opens_pickles: bool = False

    @property
    def is_closed(self) -> bool:
        """Whether this is a pickled value that may not be opened."""
        return self.field.kind == "pickle" and not self.opens_pickles

    @property
    def is_bytes(self) -> bool:
        """Whether there is no more to say of the value than its bytes."""
        return self.field.kind in BYTES or isinstance(self.codec, Closed)

    @property
    def value(self) -> Any:
        """The value as it was written; tensors as arrays, where numpy has their dtype."""
        if isinstance(self.codec, BlobCodec):
            return self.codec.decode(memoryview(self.payload))
        array, dtype = np.asarray(self.stored), self.field.dtype
        if isinstance(self.codec, Tensor):
            if dtype in (array.dtype.name, "bool"):
                return array.view(dtype)
            return interop.torch().tensor(array, dtype)
        return self.codec.values(array[None], dtype)[0]

    @property
    def payload(self) -> bytes:
        """The bytes of a field that is no array."""
        return self.stored if isinstance(self.stored, bytes) else b""


def line(leaf: Leaf) -> str:
    """The value in some 70 characters."""
    kind = leaf.field.kind
    if leaf.is_closed:
        return f"{size_text(len(leaf.payload))}, not opened; see --allow-pickle"
    if kind in IMAGES:
        image = leaf.value
        width, height = image.size
        return f"{image.mode}, {width} x {height}, {size_text(len(leaf.payload))}"
    if kind == "str":
        text = shorten(json.dumps(leaf.value, ensure_ascii=False))
        return text if len(leaf.value) < 60 else f"{text}  ({plural(len(leaf.value), 'character')})"
    if leaf.is_bytes:
        more = "..." if len(leaf.payload) > 16 else ""
        return f"{leaf.payload[:16]!r}{more}  ({size_text(len(leaf.payload))})"
    if kind in ("ndarray", "tensor"):
        array = leaf.value
        first, is_cut = _first(array)
        more = ", ..." if is_cut else ""
        return f"{tuple(array.shape)}  [{', '.join(map(str, first))}{more}]"
    return shorten(str(leaf.value) if kind == "scalar" else repr(leaf.value))


def _first(array: Any) -> tuple[list[Any], bool]:
    """The first few values of an array or a tensor, and whether there are more."""
    flat = array.reshape(-1)[:FIRST_VALUES].tolist()
    return flat, math.prod(array.shape) > FIRST_VALUES


def whole(leaf: Leaf) -> str:
    """The value as far as it can be printed; large arrays as numpy shortens them."""
    kind = leaf.field.kind
    if leaf.is_closed or kind in IMAGES or leaf.is_bytes:
        return line(leaf)
    if kind == "json":
        return json.dumps(leaf.value, indent=2, ensure_ascii=False, default=str)
    return str(leaf.value)


def as_json(leaf: Leaf) -> object:
    """The value if JSON can hold it; else what it is, as an object with its "kind"."""
    kind = leaf.field.kind
    if leaf.is_closed:
        return {"kind": kind, "bytes": len(leaf.payload)}
    if kind in IMAGES:
        image = leaf.value
        width, height = image.size
        size = {"width": width, "height": height, "bytes": len(leaf.payload)}
        return {"kind": kind, "mode": image.mode, **size}
    if leaf.is_bytes:
        return {"kind": kind, "bytes": len(leaf.payload), "first": leaf.payload[:32].hex()}
    if kind == "pickle":
        return {"kind": kind, "bytes": len(leaf.payload), "repr": shorten(repr(leaf.value))}
    if kind in ("ndarray", "tensor"):
        return _array_json(leaf)
    return plain(leaf.value.item() if kind == "scalar" else leaf.value)


def _array_json(leaf: Leaf) -> dict[str, object]:
    array = leaf.value
    described = {"kind": leaf.field.kind, "dtype": leaf.field.dtype, "shape": list(array.shape)}
    if math.prod(array.shape) > MOST_VALUES:
        return {**described, "first": plain(_first(array)[0])}
    return {**described, "values": plain(array.tolist())}


def plain(value: Any) -> object:
    """A value of containers and numbers as strict JSON has them; whatever else as its text."""
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return {name: plain(item) for name, item in zip(value._fields, value, strict=True)}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return str(value)


def file_bytes(leaf: Leaf, name: str) -> bytes:
    """The bytes of a file of the value: as stored, arrays as .npy.

    An image that was stored as pixels becomes a file of the format that the name's end says.
    """
    out = io.BytesIO()
    if isinstance(leaf.codec, ArrayCodec):
        array = np.asarray(leaf.stored)
        np.save(out, array.view(np.bool_) if leaf.field.kind == "bool" else array)
        return out.getvalue()
    if leaf.field.kind != "pil":
        return leaf.payload
    suffix = PurePath(name).suffix.lower()
    try:
        leaf.value.save(out, "PNG" if not suffix else _format(suffix))
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(
            f"the field {leaf.field.name!r} is an image of mode {leaf.value.mode}, which cannot be "
            f"written as {suffix or '.png'} ({error}); .png or .tiff may hold it"
        ) from None
    return out.getvalue()


def _format(suffix: str) -> str:
    """The format that Pillow has for the end of a file's name."""
    from PIL import Image

    return str(Image.registered_extensions()[suffix])
