"""What is known of a chunk that is in its place, and how that is written down."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from millstream.format import Shape
from millstream.format.keys import CHUNKS
from millstream.store import Store
from millstream.writing.segment import Skipped


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkRecord:
    """A chunk that is in its place. shapes: by field number, what all its rows share.

    tokens: how many it holds, if it has a token field.
    """

    digest: str
    size: int
    rows: int
    lead: int
    shapes: tuple[Shape | None, ...]
    tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A chunk, and which part of the job it is.

    start, stop: the task and the row of it that the chunk begins with, and that come next.
    skipped: the inputs that these tasks skipped; neighbours name those of a shared task both.
    """

    chunk: ChunkRecord
    start: tuple[int, int]
    stop: tuple[int, int]
    skipped: tuple[Skipped, ...] = ()

    def to_bytes(self) -> bytes:
        """JSON, for `read_placed`."""
        return json.dumps(asdict(self)).encode()


class ChunkPlace(Protocol):
    """Where a worker puts the chunks that it has built."""

    def put(self, digest: str, pieces: Iterable[memoryview]) -> None:
        """Writes all of a chunk to where only `settle` is left to be done."""

    def settle(self, digest: str) -> None:
        """Has a chunk outlive a power cut, under its name. Any process of the run may do it."""

    def record(self, sequence: int, content: bytes) -> None:
        """Writes down that a chunk is in its place."""


def read_placed(content: bytes) -> Placed | None:
    """The inverse of `to_bytes`; None for what a kill or a power cut left of one."""
    value = read_object(content)
    if value is None:
        return None
    chunk = value["chunk"]
    shapes = tuple(None if shape is None else tuple(shape) for shape in chunk.pop("shapes"))
    start, stop = tuple(value["start"]), tuple(value["stop"])
    skipped = tuple(Skipped(**some) for some in value["skipped"])
    record = ChunkRecord(**chunk, shapes=shapes)
    return Placed(chunk=record, start=start, stop=stop, skipped=skipped)


def read_object(content: bytes) -> dict[str, Any] | None:
    """A JSON object; None for anything else."""
    try:
        value = json.loads(content)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def sizes_there(store: Store) -> dict[str, int]:
    """The chunks that a place has, by digest, and their sizes. What has its name is whole."""
    return {info.key.removeprefix(CHUNKS): info.size for info in store.list(CHUNKS)}
