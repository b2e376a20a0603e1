"""Python's own bool, int and float: columns of u1, i8 and f8."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from millstream.errors import CorruptData, SampleError
from millstream.format.codecs.codec import Array, ScalarCodec


class _Number(ScalarCodec):
    """One dtype a kind, and no shape."""

    dtype: np.dtype[Any]
    python: type

    def describe(self, value: Any) -> str | None:
        # Exactly this type: an IntEnum or a numpy.float64 would come back as something else.
        return "" if type(value) is self.python else None

    def storage(self, dtype: str) -> np.dtype[Any]:
        if dtype:
            raise CorruptData(f"a field of Python numbers has the dtype {dtype!r}, expected none")
        return self.dtype

    def column(self, values: Sequence[Any], dtype: str) -> Array:
        return np.array(values, dtype=self.dtype)

    def values(self, column: Array, dtype: str) -> list[Any]:
        values: list[Any] = column.tolist()
        return values


class Boolean(_Number):
    """True and False, as the bytes 1 and 0."""

    kind = "bool"
    dtype = np.dtype("u1")
    python = bool

    def values(self, column: Array, dtype: str) -> list[bool]:
        return [value != 0 for value in column.tolist()]


class Integer(_Number):
    """Signed 64-bit integers; larger ones raise SampleError."""

    kind = "int"
    dtype = np.dtype("<i8")
    python = int

    def describe(self, value: Any) -> str | None:
        if type(value) is not int:
            return None
        if not -(1 << 63) <= value < 1 << 63:
            raise SampleError(
                f"the int {str(value)[:40]} does not fit 64 bits; store it as str or bytes"
            )
        return ""


class Real(_Number):
    """IEEE 754 double precision, every bit kept."""

    kind = "float"
    dtype = np.dtype("<f8")
    python = float
