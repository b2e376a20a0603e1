"""Where the parts of a batch are made: in this process for itself, or on their way to another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from millstream import interop
from millstream.reading.reader import Array, Empty

Buffer = bytes | memoryview


class Room(Protocol):
    """Where the columns of a batch are put."""

    @property
    def empty(self) -> Empty:
        """Makes the arrays of the batch, to be filled."""

    def blobs(self, payloads: Sequence[Buffer]) -> Any:
        """What becomes a list of bytes."""


class Output(Room, Protocol):
    """What a batch is made of."""

    def tensor(self, array: Array, dtype: str) -> Any:
        """What becomes a tensor of torch's dtype, "" for the array's own, with its memory."""


class Here:
    """A batch for this process."""

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """numpy's own."""
        return np.empty(shape, dtype)

    def tensor(self, array: Array, dtype: str) -> Any:
        """A tensor that shares the memory of an array."""
        return make_tensor(array, dtype)

    def blobs(self, payloads: Sequence[Buffer]) -> list[bytes]:
        """The bytes, copied."""
        return list(map(bytes, payloads))


class Payloads(list[Buffer]):
    """Bytes objects that still lie where they were read."""


class Apart:
    """Room for a part of a batch, which is to be put together with others."""

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """numpy's own."""
        return np.empty(shape, dtype)

    def blobs(self, payloads: Sequence[Buffer]) -> Payloads:
        """The bytes, not copied yet."""
        return Payloads(payloads)


@dataclass(frozen=True, slots=True)
class Away:
    """A batch for another process, which has torch: this one need not. empty: as in `Output`."""

    empty: Empty = np.empty

    def tensor(self, array: Array, dtype: str) -> TensorData:
        """An array that is unpickled as a tensor."""
        return TensorData(array, dtype)

    def blobs(self, payloads: Sequence[Buffer]) -> Packed:
        """The bytes end to end, which are unpickled as a list."""
        ends = np.cumsum([len(payload) for payload in payloads], dtype=np.int64).tolist()
        packed = self.empty((ends[-1] if ends else 0,), np.dtype(np.uint8))
        view, at = packed.data, 0
        for payload, end in zip(payloads, ends, strict=True):
            view[at:end] = payload
            at = end
        return Packed(packed, ends)


@dataclass(frozen=True, slots=True, eq=False)
class TensorData:
    """An array on its way to a process with torch."""

    array: Array
    dtype: str

    def __reduce__(self) -> tuple[Any, ...]:
        return make_tensor, (self.array, self.dtype)


@dataclass(frozen=True, slots=True, eq=False)
class Packed:
    """Bytes objects end to end, on their way. ends: where each ends."""

    content: Array
    ends: list[int]

    def __reduce__(self) -> tuple[Any, ...]:
        return unpacked, (self.content, self.ends)


def make_tensor(array: Array, dtype: str) -> Any:
    """A tensor that shares the memory of an array."""
    return interop.torch().tensor(array, dtype)


def unpacked(content: Array, ends: Sequence[int]) -> list[bytes]:
    """The bytes objects that lie end to end."""
    view, at, found = content.data, 0, []
    for end in ends:
        found.append(bytes(view[at:end]))
        at = end
    return found
