"""What a dataset asks of the place where it lies."""

from __future__ import annotations

from typing import Protocol


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
