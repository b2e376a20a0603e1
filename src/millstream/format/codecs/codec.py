"""What the rest of the format asks of a codec."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Shape = tuple[int, ...]


class Describes(ABC):
    """Tells its own values from others."""

    kind: str
    """What the schema calls it."""

    @abstractmethod
    def describe(self, value: Any) -> str | None:
        """The dtype of a value of this kind ("" where there is none); None: not of this kind.

        Every value of a field must give the same answer. Raises SampleError for a value of
        this kind that cannot be stored.
        """


class ArrayCodec(Describes):
    """A kind whose values are arrays: they lie in a column wherever their shapes agree."""

    @abstractmethod
    def storage(self, dtype: str) -> np.dtype[Any]:
        """The numpy dtype in which a field described as `dtype` is stored.

        Raises CorruptData if `describe` never gives that dtype.
        """

    @abstractmethod
    def values(self, column: Array, dtype: str) -> list[Any]:
        """A value for every entry of the first axis of a column; they own their memory."""


class ScalarCodec(ArrayCodec):
    """A kind whose values have no shape."""

    @abstractmethod
    def column(self, values: Sequence[Any], dtype: str) -> Array:
        """The values as an array of the storage dtype, shape (len(values),)."""


class ShapedCodec(ArrayCodec):
    """A kind whose values may differ in shape."""

    @abstractmethod
    def encode(self, value: Any, dtype: str) -> tuple[Shape, bytes]:
        """One value's shape, and its elements of the storage dtype in C order."""


class BlobCodec(Describes):
    """A kind whose values are bytes of any length."""

    @abstractmethod
    def encode(self, value: Any) -> bytes:
        """The bytes of one value."""

    @abstractmethod
    def decode(self, payload: memoryview) -> Any:
        """The inverse; raises CorruptData for bytes that `encode` never makes."""


Codec = ArrayCodec | BlobCodec
