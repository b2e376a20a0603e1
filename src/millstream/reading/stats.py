"""What reading has cost."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadStats:
    """What reading has cost so far; adds up over datasets and processes.

    fetched: whole chunks, and their bytes, from the store. opened: chunks out of the cache. ranged:
    requests for parts of chunks, and the bytes of these. replaced: copies in the cache that had
    gone bad.
    """

    fetched_chunks: int = 0
    fetched_bytes: int = 0
    opened_chunks: int = 0
    ranged_requests: int = 0
    ranged_bytes: int = 0
    replaced_chunks: int = 0

    def __add__(self, other: ReadStats) -> ReadStats:
        return ReadStats(**{name: getattr(self, name) + getattr(other, name) for name in _NAMES})

    def __sub__(self, other: ReadStats) -> ReadStats:
        return ReadStats(**{name: getattr(self, name) - getattr(other, name) for name in _NAMES})


# `asdict` would copy deeply, which takes ten times as long, several times a batch.
_NAMES = tuple(field.name for field in fields(ReadStats))
NOTHING = ReadStats()
