"""Python's own bool, int and float: columns of u1, i8 and f8."""

from __future__ import annotations

from array import array
from typing import Any, Literal

import numpy as np

from millstream.errors import CorruptData, SampleError
from millstream.format.codecs.codec import Array, ArrayCodec, Shape


class Number(ArrayCodec):
    """One dtype a kind, and no shape. typecode: of an `array`, which refuses what is too large."""

    dtype: np.dtype[Any]
    python: type
    typecode: Literal["B", "q", "d"]

    def describe(self, value: Any) -> str | None:
        # Exactly this type: an IntEnum or a numpy.float64 would come back as something else.
        return "" if type(value) is self.python else None

    def alike(self, example: Any) -> None:
        return None

    def storage(self, dtype: str) -> np.dtype[Any]:
        if dtype:
            raise CorruptData(f"a field of Python numbers has the dtype {dtype!r}, expected none")
        return self.dtype

    def encode(self, value: Any, dtype: str) -> tuple[Shape, bytes]:
        return (), array(self.typecode, [value]).tobytes()

    def values(self, column: Array, dtype: str) -> list[Any]:
        values: list[Any] = column.tolist()
        return values


class Boolean(Number):
    """True and False, as the bytes 1 and 0."""

    kind = "bool"
    dtype = np.dtype("u1")
    python = bool
    typecode = "B"

    def values(self, column: Array, dtype: str) -> list[bool]:
        return [value != 0 for value in column.tolist()]


class Integer(Number):
    """Signed 64-bit integers; larger ones raise SampleError."""

    kind = "int"
    dtype = np.dtype("<i8")
    python = int
    typecode = "q"

    def describe(self, value: Any) -> str | None:
        if type(value) is not int:
            return None
        if not -(1 << 63) <= value < 1 << 63:
            raise SampleError(
                f"the int {str(value)[:40]} does not fit 64 bits; store it as str or bytes"
            )
        return ""


class Real(Number):
    """IEEE 754 double precision, every bit kept."""

    kind = "float"
    dtype = np.dtype("<f8")
    python = float
    typecode = "d"
