"""What a field becomes for the reader: its own type, numpy, torch, PIL, bytes, what JpegDecode
says, or a function's result."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from millstream import interop
from millstream.errors import CorruptData, UnsupportedError, UsageError
from millstream.format import Codec, Field
from millstream.format.codecs import ArrayCodec, Binary, BlobCodec, ImageFile, Pixels
from millstream.plan import Keys, uniforms
from millstream.reading.crops import DRAWS
from millstream.reading.images import pixels_as_stored
from millstream.reading.jpeg import ImageDecoder, JpegDecode
from millstream.reading.output import Room
from millstream.reading.reader import Array, Values

Decode = str | JpegDecode | Callable[[bytes], Any]

# Kinds whose values are bytes to whoever reads them.
_BYTES = ("bytes", "audio", "video")
_ARRAYS = ("numpy", "torch")
_IMAGES = ("pil", "numpy", "torch", "bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """The rows that are decoded: their keys of randomness, and how an error names one of them."""

    keys: Callable[[], Keys]
    name: Callable[[int], str]


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
        if isinstance(self.wanted, JpegDecode):
            if isinstance(self.codec, ImageFile | Pixels | Binary):
                return
        elif callable(self.wanted) and isinstance(self.codec, BlobCodec):
            return
        raise UsageError(
            f"decode asks for the field {self.field.name!r} ({self.field}) as {self.wanted!r}; "
            f"it can be had as {', '.join(map(repr, choices))}"
            + (", or by a function of its bytes" if isinstance(self.codec, BlobCodec) else "")
        )

    def values(self, stored: Values, rows: Decoded) -> Iterator[Any]:
        """One value a row, decoded as they are asked for."""
        if isinstance(self.codec, ArrayCodec):
            return self._array_values(self.codec, stored)
        if isinstance(self.wanted, JpegDecode):
            decode = ImageDecoder(settings=self.wanted, codec=self.codec).decode
            pairs = zip(stored, _draws(self.wanted, len(stored), rows), strict=True)
            return self._named((partial(decode, *pair) for pair in pairs), rows)
        if self._is_image_as_array:
            image: Callable[..., Any] = (
                pixels_as_stored if self.wanted == "numpy" else _pixels_first
            )
            return self._named((partial(image, payload, self.codec) for payload in stored), rows)
        return map(self._blob_decoder(self.codec), stored)

    def of_one(self) -> Callable[[Values, Decoded], Any]:
        """What makes the value of a single row: the one that `values` gives, sooner."""
        codec, dtype = self.codec, self.field.dtype
        if self.wanted is not None:
            return lambda stored, rows: next(iter(self.values(stored, rows)))
        if isinstance(codec, BlobCodec):
            return lambda stored, rows: codec.decode(cast(list[memoryview], stored)[0])
        return lambda stored, rows: (
            codec.values(stored, dtype)[0]
            if isinstance(stored, np.ndarray)
            else next(iter(self.values(stored, rows)))
        )

    def batch(self, stored: Values, rows: Decoded, output: Room) -> Any:
        """All rows: one array where they are arrays of one shape, else a list.

        Of bytes what the output makes of them.
        """
        if isinstance(self.wanted, JpegDecode) and self.wanted.size is not None:
            return self._images(self.wanted, stored, rows, output)
        if isinstance(stored, np.ndarray) and not callable(self.wanted):
            return stored.view(np.bool_) if self.field.kind == "bool" else stored
        if self._is_bytes and isinstance(stored, list):
            return output.blobs(cast(list[memoryview], stored))
        values = list(self.values(stored, rows))
        alike = {(v.shape, v.dtype) if isinstance(v, np.ndarray) else None for v in values}
        if len(alike) > 1 or not values or None in alike:
            return values
        return np.stack(values, out=output.empty((len(values), *values[0].shape), values[0].dtype))

    @property
    def _is_bytes(self) -> bool:
        return self.wanted == "bytes" or (self.wanted is None and self.field.kind in _BYTES)

    def _images(self, wanted: JpegDecode, stored: Values, rows: Decoded, output: Room) -> Array:
        """Images of one size, each written where it belongs in the batch."""
        decoder = ImageDecoder(settings=wanted, codec=self.codec)
        out = output.empty((len(stored), *decoder.shape_of(0, 0)), np.dtype(np.uint8))
        places = zip(stored, _draws(wanted, len(stored), rows), out, strict=True)
        for _ in self._named((partial(decoder.into, *place) for place in places), rows):
            pass
        return out

    @property
    def _is_image_as_array(self) -> bool:
        return isinstance(self.codec, ImageFile | Pixels) and self.wanted in _ARRAYS

    def _named(self, calls: Iterable[Callable[[], Any]], rows: Decoded) -> Iterator[Any]:
        """The results; an error says of which row and field."""
        for number, call in enumerate(calls):
            try:
                yield call()
            except (CorruptData, UnsupportedError) as error:
                where = f"{rows.name(number)}, field {self.field.name!r}"
                raise type(error)(f"{where}: {error}") from None

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
        return lambda payload: np.frombuffer(bytearray(payload), np.uint8)


def _choices(codec: Codec) -> Sequence[str]:
    if isinstance(codec, ArrayCodec):
        return _ARRAYS
    if isinstance(codec, ImageFile | Pixels):
        return _IMAGES
    return ("bytes", "numpy")


def _draws(settings: JpegDecode, count: int, rows: Decoded) -> npt.NDArray[np.float64]:
    """The random numbers of each row, (count, DRAWS)."""
    return uniforms(rows.keys(), DRAWS) if settings.is_random else np.zeros((count, DRAWS))


def _pixels_first(payload: memoryview, codec: Codec) -> Any:
    """A uint8 tensor (channels, height, width)."""
    pixels = pixels_as_stored(payload, codec)
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
