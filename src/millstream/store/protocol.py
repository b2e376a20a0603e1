"""What a dataset asks of the place where it lies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectInfo:
    """What a store knows of an object unread. size: bytes. modified: seconds since the epoch."""

    key: str
    size: int
    modified: float


class ReadableStore(Protocol):
    """Objects under keys like `chunks/ab12`; a key's parts are joined by slashes."""

    def get(self, key: str, span: tuple[int, int] | None = None) -> bytes:
        """An object's bytes, or those from span[0] up to span[1]; raises FileNotFoundError.

        Where the object ends before the span does, there are fewer.
        """


class Store(ReadableStore, Protocol):
    """One that can be written too, an object at a time."""

    def put(self, key: str, content: bytes) -> None:
        """Makes or replaces an object; a reader sees the old or the new, never half."""

    def put_if_absent(self, key: str, content: bytes) -> bool:
        """Makes an object unless there is one; of several callers at once one wins."""


class ListingStore(Store, Protocol):
    """Can say what there is. Readers never ask for it: not every place can."""

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """The objects whose keys start with a prefix: "" or whole parts, as `chunks/`.

        In any order; one that comes or goes meanwhile may be in it or not.
        """


class DeletingStore(ListingStore, Protocol):
    """Can forget. Only pruning asks for it."""

    def delete(self, key: str) -> None:
        """Removes an object; there may be none."""
