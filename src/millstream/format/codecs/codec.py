"""What the rest of the format asks of a codec."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from millstream.errors import UsageError

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
    """A kind whose values are bytes of any length.

    To store a class of one's own, give a subclass a `kind`, `describe` (which returns "" for the
    values that are of it, None for others), `encode` and `decode`, and pass an object of it as
    `serializers=[...]` to `optimize` and to `StreamingDataset`.
    """

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


class Closed(BlobCodec):
    """A kind that nothing here knows how to read: the bytes of its values, as they are stored."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def describe(self, value: Any) -> str | None:
        return None

    def encode(self, value: Any) -> bytes:
        raise NotImplementedError(f"nothing here writes the kind {self.kind!r}")

    def decode(self, payload: memoryview) -> bytes:
        return bytes(payload)


def as_serializers(given: Any) -> tuple[BlobCodec, ...]:
    """Codecs of the user's own; raises UsageError for what is none, and for two of one kind."""
    codecs = tuple(given.values() if isinstance(given, Mapping) else given or ())
    kinds: list[str] = []
    for codec in codecs:
        kind = getattr(codec, "kind", None)
        if not isinstance(codec, BlobCodec) or not isinstance(kind, str) or not kind:
            raise UsageError(
                f"serializers holds {codec!r:.60}, expected objects of a subclass of "
                "millstream.BlobCodec with a `kind`, a short name of their own"
            )
        if kind in kinds:
            raise UsageError(f"serializers holds two codecs of the kind {kind!r}; rename one")
        kinds.append(kind)
    return codecs
