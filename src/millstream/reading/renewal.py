"""Reading again what arrived damaged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar

from millstream.errors import CorruptData, UnsupportedError

T = TypeVar("T")


class Renews(Protocol):
    """Chunks of which there may be copies."""

    def renew(self, chunks: Iterable[int]) -> bool:
        """Forgets copies of these chunks that went bad; True if reading again may help."""

    def recovered(self, chunks: Iterable[int]) -> None:
        """Reading these again has helped."""


def read_renewed(chunks: Renews, numbers: Callable[[], Sequence[int]], read: Callable[[], T]) -> T:
    """What `read` gives, which is called again as long as copies of the chunks that it reads,
    `numbers`, can be renewed; raises CorruptData or UnsupportedError."""
    renewed = False
    while True:
        try:
            result = read()
        except (CorruptData, UnsupportedError):
            renewed = True
            if not chunks.renew(numbers()):
                raise
        else:
            if renewed:
                chunks.recovered(numbers())
            return result
