"""What the rest of the format asks of a codec."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
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

    def alike(self, example: Any) -> Callable[[Any], bool] | None:
        """A quick test of whether a value of the example's own type is described like it.

        None where the type says it all. That a value cannot be stored may show later, when it is.
        """
        described = self.describe(example)
        return lambda value: self.describe(value) == described


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

    @abstractmethod
    def encode(self, value: Any, dtype: str) -> tuple[Shape, bytes]:
        """One value's shape, and its elements of the storage dtype in C order."""

    def block(self, values: Any, dtype: str) -> Array | None:
        """Many values at once, which `values` has along its first axis, as one array of them.

        It may share their memory. None if they are not of this kind and dtype, or no one array.
        """
        return None


@dataclass(frozen=True, slots=True)
class Source:
    """A file as it was when it was looked at: its absolute path, size, and modification time."""

    path: str
    size: int
    mtime_ns: int

    def __len__(self) -> int:
        return self.size


class BlobCodec(Describes):
    """A kind whose values are bytes of any length."""

    def source(self, value: Any) -> Source | None:
        """The file that holds just the bytes of a value; None if there is none."""
        return None

    @abstractmethod
    def encode(self, value: Any) -> bytes:
        """The bytes of one value."""

    @abstractmethod
    def decode(self, payload: memoryview) -> Any:
        """The inverse; raises CorruptData for bytes that `encode` never makes."""


Codec = ArrayCodec | BlobCodec
