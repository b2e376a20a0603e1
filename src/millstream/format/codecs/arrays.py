"""numpy arrays and numpy scalars: the bytes of the array in C order, its dtype in the schema."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from millstream.errors import CorruptData
from millstream.format.codecs.codec import Array, ArrayCodec, Shape

# What numpy.dtype.str gives for bool, ints, floats, complex, dates and fixed-length text; object
# ('O') and void ('V') have no bytes of their own, or too many meanings.
_DTYPE = re.compile(r"[<>|=][biufcSUmM][0-9]{1,7}(\[[0-9]{0,6}[a-zA-Z]{1,2}\])?")

ARRAYS = (np.ndarray, np.memmap)


def stored_dtype(dtype: str) -> np.dtype[Any]:
    """The numpy dtype named by a schema; raises CorruptData for one that is never written."""
    try:
        if _DTYPE.fullmatch(dtype):
            return np.dtype(dtype)
    except TypeError:
        pass
    raise CorruptData(f"not the dtype of a stored array: {dtype[:40]!r}")


def _describe(dtype: np.dtype[Any]) -> str | None:
    return dtype.str if dtype.kind in "biufcSUmM" and dtype.itemsize else None


class NdArray(ArrayCodec):
    """numpy.ndarray (and numpy.memmap) of any shape."""

    kind = "ndarray"

    def describe(self, value: Any) -> str | None:
        return _describe(value.dtype) if type(value) in ARRAYS else None

    def alike(self, example: Any) -> Callable[[Any], bool]:
        dtype = example.dtype  # the same object for most arrays of a dtype
        return lambda value: value.dtype is dtype or value.dtype.str == dtype.str

    def storage(self, dtype: str) -> np.dtype[Any]:
        return stored_dtype(dtype)

    def encode(self, value: Any, dtype: str) -> tuple[Shape, bytes]:
        return value.shape, value.tobytes()

    def block(self, values: Any, dtype: str) -> Array | None:
        fits = type(values) in ARRAYS and values.ndim > 1 and values.dtype.str == dtype
        return values if fits else None

    def values(self, column: Array, dtype: str) -> list[Array]:
        return [np.array(value, column.dtype) for value in column]


class NumpyScalar(ArrayCodec):
    """numpy.float32(1), numpy.int64(2) and their kin; they come back as the same numpy type."""

    kind = "scalar"

    def describe(self, value: Any) -> str | None:
        if not isinstance(value, np.generic) or value.dtype.kind in "SU":
            return None
        return _describe(value.dtype)

    def alike(self, example: Any) -> Callable[[Any], bool] | None:
        dtype = example.dtype
        if dtype.kind not in "mM":  # whose unit is no part of the type
            return None
        return lambda value: bool(value.dtype.str == dtype.str)

    def storage(self, dtype: str) -> np.dtype[Any]:
        return stored_dtype(dtype)

    def encode(self, value: Any, dtype: str) -> tuple[Shape, bytes]:
        return (), value.tobytes()

    def block(self, values: Any, dtype: str) -> Array | None:
        fits = type(values) in ARRAYS and values.ndim == 1 and values.dtype.str == dtype
        return values if fits and values.dtype.kind not in "SU" else None

    def values(self, column: Array, dtype: str) -> list[Any]:
        return list(column)
