"""What a field becomes for the reader: its own type, numpy, torch, PIL, bytes, or a function's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from millstream import interop
from millstream.errors import UsageError
from millstream.format import Codec, Field
from millstream.format.codecs import ArrayCodec, BlobCodec, ImageFile, Pixels
from millstream.reading.output import Output
from millstream.reading.reader import Array, Values

Decode = str | Callable[[bytes], Any]

_ARRAYS = ("numpy", "torch")
_IMAGES = ("pil", "numpy", "torch", "bytes")


@dataclass(frozen=True, slots=True)
class Decoder:
    """How one field is decoded. wanted: None for the type that was written."""

    field: Field
    codec: Codec
    wanted: Decode | None

    def __post_init__(self) -> None:
        choices = _choices(self.codec)
        if self.wanted is None or self.wanted in choices:
            return
        if callable(self.wanted) and isinstance(self.codec, BlobCodec):
            return
        raise UsageError(
            f"decode asks for the field {self.field.name!r} ({self.field}) as {self.wanted!r}; "
            f"it can be had as {', '.join(map(repr, choices))}"
            + (", or by a function of its bytes" if isinstance(self.codec, BlobCodec) else "")
        )

    def values(self, stored: Values) -> Iterator[Any]:
        """One value a row, decoded as they are asked for."""
        if isinstance(self.codec, ArrayCodec):
            return self._array_values(self.codec, stored)
        return map(self._blob_decoder(self.codec), stored)

    def of_one(self) -> Callable[[Values], Any]:
        """What makes the value of a single row: the one that `values` gives, sooner."""
        codec, dtype = self.codec, self.field.dtype
        if self.wanted is not None:
            return lambda stored: next(iter(self.values(stored)))
        if isinstance(codec, BlobCodec):
            return lambda stored: codec.decode(cast(list[memoryview], stored)[0])
        return lambda stored: (
            codec.values(stored, dtype)[0]
            if isinstance(stored, np.ndarray)
            else next(iter(self.values(stored)))
        )

    def batch(self, stored: Values, output: Output) -> Any:
        """All rows: one array where they are arrays of one shape, else a list.

        Of bytes what the output makes of them.
        """
        if isinstance(stored, np.ndarray) and not callable(self.wanted):
            return stored.view(np.bool_) if self.field.kind == "bool" else stored
        if self._is_bytes and isinstance(stored, list):
            return output.blobs(cast(list[memoryview], stored))
        values = list(self.values(stored))
        alike = {(v.shape, v.dtype) if isinstance(v, np.ndarray) else None for v in values}
        if len(alike) > 1 or not values or None in alike:
            return values
        return np.stack(values, out=output.empty((len(values), *values[0].shape), values[0].dtype))

    @property
    def _is_bytes(self) -> bool:
        return self.wanted == "bytes" or (self.wanted is None and self.field.kind == "bytes")

    def _array_values(self, codec: ArrayCodec, stored: Values) -> Iterator[Any]:
        columns = (
            [stored] if isinstance(stored, np.ndarray) else [np.asarray(a)[None] for a in stored]
        )
        for column in columns:
            if self.wanted is None:
                yield from codec.values(column, self.field.dtype)
                continue
            arrays = [np.array(value, column.dtype) for value in column]
            if self.field.kind == "bool":
                arrays = [array.view(np.bool_) for array in arrays]
            yield from arrays if self.wanted == "numpy" else map(self._tensor, arrays)

    def _tensor(self, array: Array) -> Any:
        """The array as a tensor that shares its memory."""
        return interop.torch().tensor(
            array, self.field.dtype if self.field.kind == "tensor" else ""
        )

    def _blob_decoder(self, codec: BlobCodec) -> Callable[[Any], Any]:
        wanted = self.wanted
        if callable(wanted):
            return lambda payload: wanted(bytes(payload))
        if wanted is None or wanted == "pil":
            return codec.decode
        if wanted == "bytes":
            return bytes
        if isinstance(codec, ImageFile | Pixels):
            image = _pixels_last if wanted == "numpy" else _pixels_first
            return lambda payload: image(codec.decode(payload))
        return lambda payload: np.frombuffer(bytearray(payload), np.uint8)


def _choices(codec: Codec) -> Sequence[str]:
    if isinstance(codec, ArrayCodec):
        return _ARRAYS
    if isinstance(codec, ImageFile | Pixels):
        return _IMAGES
    return ("bytes", "numpy")


def _pixels_last(image: Any) -> Array:
    """uint8 (height, width, channels), or (height, width) for one channel."""
    return np.array(image)


def _pixels_first(image: Any) -> Any:
    """A uint8 tensor (channels, height, width)."""
    pixels = np.array(image)
    pixels = pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)
    return interop.torch().tensor(np.ascontiguousarray(pixels), "")


def make_decoders(
    fields: Sequence[Field], codecs: Sequence[Codec], decode: Mapping[str, Decode]
) -> list[Decoder]:
    """A decoder for each field; raises UsageError for a name that no field has."""
    names = [field.name for field in fields]
    if unknown := [name for name in decode if name not in names]:
        raise UsageError(f"decode names the field {unknown[0]!r}; the fields are {names}")
    return [
        Decoder(field, codec, decode.get(field.name))
        for field, codec in zip(fields, codecs, strict=True)
    ]
