"""What datasets ask of the places where they lie: each protocol is one thing to be good at."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, overload

Span = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectInfo:
    """What a store knows of an object unread. size: bytes. modified: seconds since the epoch.

    modified is 0 where the store does not say. tag: 16 hex digits, others if the object is replaced
    by another; "" where the store does not say.
    """

    key: str
    size: int
    modified: float
    tag: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """What lies directly in a folder. folders: names, without slashes. Both are sorted."""

    folders: Sequence[str]
    objects: Sequence[ObjectInfo]


class ReadableStore(Protocol):
    """Objects under keys like `chunks/ab12`; a key's parts are joined by slashes."""

    @overload
    def get(self, key: str) -> bytes: ...
    @overload
    def get(self, key: str, span: Span) -> bytes | memoryview: ...
    def get(self, key: str, span: Span | None = None) -> bytes | memoryview:
        """An object's bytes, or those from span[0] up to span[1]: all of them, never fewer.

        Raises FileNotFoundError if there is no such object, CorruptData if it ends before the
        span does. An empty span is empty, whatever the object is.
        """

    def size(self, key: str) -> int:
        """An object's length in bytes; raises FileNotFoundError."""


class NearStore(ReadableStore, Protocol):
    """Objects that are in this machine's memory, or as good as that."""

    def map(self, key: str) -> memoryview:
        """An object's bytes where they lie, not copied; raises FileNotFoundError."""


class ListingStore(ReadableStore, Protocol):
    """Can say what there is. Readers never ask for it: not every place can."""

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """The objects whose keys start with a prefix: "" or whole parts, as `chunks/`.

        Sorted by key; one that comes or goes meanwhile may be in it or not.
        """

    def folder(self, prefix: str) -> Folder:
        """What lies directly below a prefix: "" or whole parts, as `chunks/`."""

    def get_listed(self, listed: ObjectInfo, span: Span | None = None) -> bytes | memoryview:
        """An object's bytes, or some of them, if it is still the one that was listed.

        Raises ObjectChanged if its size, or its tag where the store says one with the bytes, is
        another; FileNotFoundError if it is gone.
        """


class WritableStore(ReadableStore, Protocol):
    """Objects appear whole: a reader sees none, the old or the new, never half of one."""

    def put(self, key: str, content: bytes) -> None:
        """Makes or replaces an object."""

    def put_if_absent(self, key: str, content: bytes) -> bool:
        """Makes an object unless there is one; of several callers at once one wins.

        True too if the object is there because an earlier try arrived though its answer was lost;
        that is found out by reading back, so two callers with equal bytes may both be told so.
        """

    def put_file(self, key: str, path: str | os.PathLike[str]) -> None:
        """Makes or replaces an object from a file of any size, in little memory."""

    def copy(self, key: str, to: str) -> None:
        """Makes or replaces the object `to` from another of this store, without moving bytes here.

        Raises FileNotFoundError.
        """

    def check_conditional_put(self) -> None:
        """Raises UnsupportedError where `put_if_absent` would let two callers win.

        Costs a few requests the first time. Who publishes versions asks for it beforehand.
        """


class Store(ListingStore, WritableStore, Protocol):
    """All of it, and it can forget. Only who cleans up asks for so much."""

    def delete(self, key: str) -> None:
        """Removes an object; there may be none."""
