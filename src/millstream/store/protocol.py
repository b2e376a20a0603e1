"""What a dataset asks of the place where it lies."""

from __future__ import annotations

from typing import Protocol


class Store(Protocol):
    """Whole objects under keys like `chunks/ab12`; a key's parts are joined by slashes."""

    def get(self, key: str) -> bytes:
        """An object's bytes; raises FileNotFoundError."""

    def put(self, key: str, content: bytes) -> None:
        """Makes or replaces an object; a reader sees the old or the new, never half."""

    def put_if_absent(self, key: str, content: bytes) -> bool:
        """Makes an object unless there is one; of several callers at once one wins."""
