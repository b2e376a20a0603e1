"""What filters of a chunk have been undone of, in memory that many may share.

A page that one row needs holds many others, which a shuffled epoch needs at other times, in other
processes. So whoever is first puts the page into memory where all find it: a byte says for each
page whether it is there, and a lock for each that it is put there once.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from xxhash import xxh3_64_intdigest

from millstream.errors import CannotDecrypt, CorruptData
from millstream.format.filters import Chain, Kind, Unit
from millstream.format.layout import (
    BlobGroup,
    Buffer,
    Column,
    Layout,
    Span,
    TokenColumn,
    aligned,
)
from millstream.format.spans import Spans

Octets = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]


class Memory(Protocol):
    """Bytes, zero at first; can be referred to weakly, and so can what lies in it be kept by."""

    @property
    def content(self) -> Octets:
        """All of them; who changes them uses `write`."""

    @property
    def is_current(self) -> bool:
        """Whether others still get the same memory by this name; it can be read in any case."""

    def write(self, at: int, content: bytes | memoryview) -> None:
        """Puts bytes there; raises StorageError if there is no memory for them."""

    def lock(self, number: int) -> AbstractContextManager[object]:
        """Held by one at a time, over all who share the memory."""


class Memories(Protocol):
    """Memory by the name of a chunk, shared by all who have the same of these.

    They keep it as long as they like: who needs it later refers to it weakly, and asks again.
    """

    def __call__(self, name: str, size: int) -> Memory:
        """So many bytes. A name stands for one size."""

    def opened(self, nbytes: int) -> None:
        """Told how many bytes came out of filters."""


class OwnMemory:
    """Memory that nobody else asks for."""

    is_current = True

    def __init__(self, size: int) -> None:
        self._bytes: Octets = np.zeros(size, np.uint8)  # what is never touched takes no memory
        self.content = self._bytes.view()
        self.content.flags.writeable = False
        self._lock = threading.Lock()

    def write(self, at: int, content: bytes | memoryview) -> None:
        """Puts bytes there."""
        self._bytes[at : at + len(content)] = np.frombuffer(content, np.uint8)

    def lock(self, number: int) -> AbstractContextManager[object]:
        """One for all numbers."""
        return self._lock


class OwnMemories:
    """Memory for one view of a chunk, kept as long as that."""

    def __init__(self) -> None:
        self._held: dict[str, OwnMemory] = {}

    def __call__(self, name: str, size: int) -> Memory:
        """So many bytes."""
        if name not in self._held:
            self._held[name] = OwnMemory(size)
        return self._held[name]

    def opened(self, nbytes: int) -> None:
        """Nobody counts."""


Part = Column | BlobGroup | TokenColumn
# A part of a chunk: which list of the header it is in, and its place there.
Key = tuple[Kind, int]


@dataclass(frozen=True, slots=True)
class Region:
    """Where the pages of one part go. first: the number of its first page in the chunk.

    page: the bytes of a page, span: of all. The byte `first + n` of the memory says that page n is
    there.
    """

    first: int
    page: int
    span: Span

    def size(self, number: int) -> int:
        """The bytes of a page; the last may have fewer."""
        return min(self.page, self.span.length - number * self.page)


def regions(layout: Layout) -> tuple[dict[Key, Region], int]:
    """The places of all parts whose pages were filtered; the bytes of all."""
    sizes = {key: _lengths(layout, part) for key, part in paged_parts(layout)}
    pages = {key: -(-raw // page) for key, (page, raw) in sizes.items()}
    first, found, at = 0, {}, aligned(sum(pages.values()))
    for key, (page, raw) in sizes.items():
        found[key] = Region(first, page, Span(at, raw))
        first, at = first + pages[key], aligned(at + raw)
    return found, at


def paged_parts(layout: Layout) -> Iterator[tuple[Key, Part]]:
    """The parts whose pages were filtered."""
    lists: tuple[tuple[Kind, Sequence[Part]], ...] = (
        ("columns", layout.columns),
        ("blobs", layout.groups),
        ("tokens", layout.tokens),
    )
    for name, parts in lists:
        for index, part in enumerate(parts):
            if part.frames is not None:
                yield (name, index), part


def _lengths(layout: Layout, part: Part) -> tuple[int, int]:
    """The bytes of a page, and of all pages, as they were before they were filtered."""
    if isinstance(part, Column):
        return part.page * part.itemsize or 1, layout.rows * part.itemsize
    return part.page or 1, part.raw or 0


class StoredPages:
    """The pages of a part as they are stored. sums: a checksum each; None if none is compared."""

    def __init__(
        self,
        data: memoryview,
        frames: npt.NDArray[np.uint64],
        sums: npt.NDArray[np.uint64] | None,
        chain: Chain,
        key: Key,
    ) -> None:
        self._data, self._frames, self._sums = data, frames, sums
        self._chain, self._key = chain, key

    def undo(self, number: int, size: int) -> Buffer:
        """A page of so many bytes, verified and out of its filters; raises CorruptData."""
        start, stop = self.bounds(number)
        stored = self._data[start:stop]
        if self._sums is not None and xxh3_64_intdigest(stored) != self._sums[number]:
            raise CorruptData("does not match its checksum; fetch or write this chunk again")
        return self._chain.undo(stored, Unit(*self._key, number), size)

    def bounds(self, number: int) -> tuple[int, int]:
        """Where a page lies; raises CorruptData if that is not within the data."""
        start, stop = int(self._frames[number]), int(self._frames[number + 1])
        if not start <= stop <= len(self._data):
            raise CorruptData(f"is bytes {start} to {stop} of {len(self._data)}")
        return start, stop


class Pages:
    """The pages of one part, put into memory as they are needed."""

    def __init__(
        self, region: Region, stored: StoredPages, memory: Callable[[], Memory], memories: Memories
    ) -> None:
        self.region, self.stored = region, stored
        self._memory, self._memories = memory, memories

    def content(self, numbers: Ints, place: Callable[[int], str]) -> Octets:
        """All bytes of the part, of which those of these pages are there.

        place: names a page, for the CorruptData that this raises.
        """
        memory, span, first = self._memory(), self.region.span, self.region.first
        flags = memory.content[first + numbers]
        if not flags.all():
            for number in np.unique(numbers[flags == 0]).tolist():
                self._bring(memory, number, place)
        return memory.content[span.offset : span.stop]

    def _bring(self, memory: Memory, number: int, place: Callable[[int], str]) -> None:
        flag, size = self.region.first + number, self.region.size(number)
        with memory.lock(flag):
            if memory.content[flag]:  # somebody else was first
                return
            try:
                content = self.stored.undo(number, size)
            except (CorruptData, CannotDecrypt) as error:
                raise type(error)(f"{place(number)} {error}") from None
            memory.write(self.region.span.offset + number * self.region.page, content)
            memory.write(flag, b"\1")
        self._memories.opened(size)

    def check(self, number: int, place: Callable[[int], str]) -> None:
        """Raises CorruptData unless a page is as it was written; leaves the memory alone."""
        try:
            self.stored.undo(number, self.region.size(number))
        except CorruptData as error:
            raise CorruptData(f"{place(number)} {error}") from None

    def spans(self, numbers: Ints, place: Callable[[int], str]) -> Spans:
        """Where pages are stored, in the part's data."""
        found = []
        for number in np.unique(numbers).tolist():
            try:
                found.append(self.stored.bounds(number))
            except CorruptData as error:
                raise CorruptData(f"{place(number)} {error}") from None
        return np.array(found, np.int64).reshape(-1, 2)


class Current:
    """The memory of a name, asked for again when others get another one by it.

    It is not kept here: a view may be at hand long after its memory was given up.
    """

    def __init__(self, memories: Memories, name: str, size: int) -> None:
        self._memories, self._name, self._size = memories, name, size
        self._memory: Callable[[], Memory | None] = lambda: None

    def __call__(self) -> Memory:
        memory = self._memory()
        if memory is None or not memory.is_current:
            memory = self._memories(self._name, self._size)
            self._memory = weakref.ref(memory)
        return memory
