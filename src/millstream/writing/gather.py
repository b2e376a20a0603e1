"""Brings the bytes that still lie in files into parts, for the chunk that holds them.

Each file is read once, to where it lies in the chunk's blobs; its checksum is taken while it is
still in the processor's cache.
"""

from __future__ import annotations

import mmap
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from xxhash import xxh3_64_intdigest

from millstream.errors import StorageError
from millstream.format import Blobs, Part, Source
from millstream.store.local import storage_errors

# Chunks up to this size are put together in memory that a worker keeps, larger ones in a file.
KEPT_BYTES = 256_000_000
STEP_BYTES = 1 << 24


class Room:
    """Memory for the blobs of one chunk after another; travels to a worker without them."""

    def __init__(self) -> None:
        self._kept = mmap.mmap(-1, mmap.PAGESIZE)

    def __reduce__(self) -> tuple[type[Room], tuple[()]]:
        return Room, ()

    def take(self, nbytes: int, folder: Path) -> memoryview:
        """So many bytes, good until the next call. folder: where large rooms lie on the disk."""
        if nbytes > KEPT_BYTES:
            return _file_room(nbytes, folder)
        if nbytes > len(self._kept):
            self._kept = mmap.mmap(-1, -(-nbytes // STEP_BYTES) * STEP_BYTES)
            if sys.platform == "linux":
                self._kept.madvise(mmap.MADV_HUGEPAGE)
        return memoryview(self._kept)[:nbytes]


def _file_room(nbytes: int, folder: Path) -> memoryview:
    with storage_errors(folder), tempfile.TemporaryFile(dir=folder) as file:
        if sys.platform == "linux":  # where a full disk is an error now, and no signal later
            os.posix_fallocate(file.fileno(), 0, nbytes)
        else:
            file.truncate(nbytes)
        return memoryview(mmap.mmap(file.fileno(), nbytes))


def gather(parts: Sequence[Part], room: Room, folder: Path) -> list[Part]:
    """The same parts with all of their bytes; raises StorageError for a file that has changed."""
    needed = [int(blobs.sizes.sum()) for blobs in _with_files(parts)]
    if not needed:
        return list(parts)
    into, gathered = room.take(sum(needed), folder), []
    for part in parts:
        if part.blobs is not None and part.blobs.files:
            size = int(part.blobs.sizes.sum())
            part = replace(part, blobs=_gathered(part.blobs, into[:size]))
            into = into[size:]
        gathered.append(part)
    return gathered


def _with_files(parts: Sequence[Part]) -> Iterator[Blobs]:
    return (part.blobs for part in parts if part.blobs is not None and part.blobs.files)


def _gathered(blobs: Blobs, into: memoryview) -> Blobs:
    ends = np.cumsum(blobs.sizes).tolist()
    starts = [0, *ends]
    held, at = blobs.data.data, 0
    for row, first, source in blobs.files:
        start = starts[row] + first
        into[at:start], held = held[: start - at], held[start - at :]
        at = start + source.size
        read_file(source, into[start:at])
    into[at:] = held
    sums = [xxh3_64_intdigest(into[a:b]) for a, b in zip(starts, ends, strict=False)]
    data = np.frombuffer(into, np.uint8)
    return Blobs(sizes=blobs.sizes, sums=np.array(sums, np.uint64), data=data)


def read_file(source: Source, into: memoryview) -> None:
    """Reads a file that is what it was; raises StorageError if it is not."""
    at = 0
    try:
        descriptor = os.open(source.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            while at < len(into) and (count := os.readv(descriptor, [into[at:]])):
                at += count
            state = os.fstat(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _changed(source, str(error.strerror or error)) from error
    if (at, state.st_size, state.st_mtime_ns) != (source.size, source.size, source.mtime_ns):
        now = f"it now has {state.st_size:,} bytes and the modification time {state.st_mtime_ns} ns"
        raise _changed(source, now)


def _changed(source: Source, now: str) -> StorageError:
    return StorageError(
        f"{source.path}, an input, is not what it was when fn returned it ({source.size:,} bytes, "
        f"modified at {source.mtime_ns} ns): {now}. Inputs must stay as they are until the "
        "dataset is written; run the job again into an empty folder"
    )
