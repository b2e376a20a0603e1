"""Slots: memory that a worker fills and its parent reads where it lies.

A slot has no name: it is reached by a descriptor that the worker sends once, and is gone with the
last process that has it mapped, whatever ends these. What it holds is a pickle's large buffers,
each at a multiple of 64, and the pickle itself where that is large.
"""

from __future__ import annotations

import mmap
import os
import pickle
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from millstream.errors import StorageError

Array = npt.NDArray[Any]
Octets = npt.NDArray[np.uint8]
# Where a buffer lies in a slot: its offset and its length in bytes.
Span = tuple[int, int]

ALIGN = 64
# A slot has a little more room than what was needed, so that batches of about one size fit.
SLACK = 1.25
GRAIN = 65_536
# A pickle of up to so many bytes travels in the message.
SMALL = 4_096


@dataclass(frozen=True, slots=True)
class Filled:
    """A value in a slot. stream: its pickle, empty if that is what the last span holds.

    descriptor: of the memory that from now on is the slot, if it has changed.
    """

    stream: bytes
    spans: Sequence[Span]
    descriptor: int | None


class Arena:
    """A worker's slots, by number: one is filled at a time, and made or enlarged where need be."""

    def __init__(self) -> None:
        self._slots: dict[int, Octets] = {}
        self._number = 0
        self._slot: Octets = np.empty(0, np.uint8)
        self._used = 0
        self._learned = 0  # the size of the largest slot so far
        self._descriptor: int | None = None  # of the present slot, if the parent has not seen it

    def begin(self, number: int) -> None:
        """What is made and dumped from now on goes to the slot of this number."""
        self._number, self._used, self._descriptor = number, 0, None
        if number not in self._slots and self._learned:
            self._make(self._learned)
        self._slot = self._slots.get(number, np.empty(0, np.uint8))

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """An array in the slot, not filled; elsewhere if it has no room."""
        at = -(-self._used // ALIGN) * ALIGN
        stop = at + prod(shape) * dtype.itemsize
        if stop > len(self._slot) or stop == at:
            return np.empty(shape, dtype)
        self._used = stop
        return np.ndarray(shape, dtype, self._slot.data, at)

    def dump(self, value: Any) -> Filled:
        """Puts a value into the slot; what `empty` made of it is there already.

        Raises StorageError if there is no memory for a slot that is large enough.
        """
        buffers: list[pickle.PickleBuffer] = []
        stream = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
        raws = [buffer.raw() for buffer in buffers]
        if is_large := len(stream) > SMALL:
            raws.append(memoryview(stream))
        spans = self._place(raws)
        descriptor, self._descriptor = self._descriptor, None
        return Filled(b"" if is_large else stream, spans, descriptor)

    def _place(self, raws: Sequence[memoryview]) -> list[Span]:
        """Copies into the slot what does not lie there; where everything is."""
        arrays = [np.frombuffer(raw, np.uint8) if len(raw) else None for raw in raws]
        base, size = _address(self._slot) if len(self._slot) else 0, len(self._slot)
        spans, missing, end = [], [], self._used
        for array in arrays:
            if array is None:
                spans.append((0, 0))
                continue
            at = _address(array) - base
            if not 0 <= at < size:
                at = -(-end // ALIGN) * ALIGN
                end = at + len(array)
                missing.append((at, array))
            spans.append((at, len(array)))
        if end > size:
            self._enlarge(end)
        for at, array in missing:
            self._slot[at : at + len(array)] = array
        return spans

    def _enlarge(self, size: int) -> None:
        before = self._slot
        self._make(max(self._learned, int(size * SLACK)))
        self._slot = self._slots[self._number]
        self._slot[: self._used] = before[: self._used]

    def _make(self, size: int) -> None:
        size = -(-size // GRAIN) * GRAIN
        if self._descriptor is not None:  # made for this very batch, and too small
            os.close(self._descriptor)
        self._descriptor = make_segment(size)
        self._slots[self._number] = map_segment(self._descriptor, size)
        self._learned = max(self._learned, size)


def _address(array: Octets) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


def make_segment(size: int) -> int:
    """The descriptor of so many bytes of memory without a name; StorageError if there are none."""
    try:
        descriptor = _memory()
        try:
            # All of it now: a page that is not to be had later would end the process.
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(descriptor, 0, size)
            else:
                os.ftruncate(descriptor, size)
        except OSError:
            os.close(descriptor)
            raise
    except OSError as error:
        raise StorageError(
            f"there is no memory for a batch of {size:,} bytes ({error.strerror}): use a smaller "
            "batch_size, fewer workers or a smaller prefetch_factor"
        ) from error
    return descriptor


def _memory() -> int:
    """Memory of no size yet."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("millstream", os.MFD_CLOEXEC)
    return unlinked_segment()


def unlinked_segment() -> int:
    """Shared memory that loses its name at once: for systems that have none without."""
    # What the standard library makes its own shared memory from, without the helper process.
    import _posixshmem  # type: ignore[import-not-found]

    name = f"/millstream-{secrets.token_hex(8)}"
    descriptor: int = _posixshmem.shm_open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode=0o600)
    _posixshmem.shm_unlink(name)
    return descriptor


def map_segment(descriptor: int, size: int) -> Octets:
    """The bytes of a segment; the mapping ends with the last array that shares its memory."""
    flags = mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0)
    return np.frombuffer(mmap.mmap(descriptor, size, flags), np.uint8)
