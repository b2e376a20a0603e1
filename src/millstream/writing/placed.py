"""What is known of a chunk that is in its place, and how that is written down."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from millstream.format import WHOLE, Layout, Shape
from millstream.format.keys import CHUNKS
from millstream.store import Store
from millstream.writing.segment import Skipped


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkRecord:
    """A chunk that is in its place. shapes: by field number, what all its rows share.

    tokens: how many it holds, if it has a token field. filters: the names of those in it, and
    `body` if there is one of the whole.
    """

    digest: str
    size: int
    rows: int
    lead: int
    shapes: tuple[Shape | None, ...]
    tokens: int | None = None
    filters: tuple[str, ...] = ()

    @staticmethod
    def of(layout: Layout, digest: str, size: int) -> ChunkRecord:
        """From what a chunk's header says, and what it does not."""
        shapes = {column.field: column.shape for column in layout.columns}
        whole = set() if layout.body is None else {WHOLE}
        return ChunkRecord(
            digest=digest,
            size=size,
            rows=layout.rows,
            lead=layout.lead(),
            shapes=tuple(map(shapes.get, range(len(layout.schema.fields)))),
            tokens=layout.count_tokens(),
            filters=tuple(sorted({str(spec["name"]) for spec in layout.filters} | whole)),
        )


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


def unbroken(placed: Mapping[int, Placed]) -> Iterator[Placed]:
    """The chunks from the first one on that follow each other without a gap."""
    sequence, at = 0, (0, 0)
    while (some := placed.get(sequence)) and some.start == at:
        yield some
        sequence, at = sequence + 1, some.stop


class ChunkPlace(Protocol):
    """Where a worker puts the chunks that it has built."""

    def put(self, digest: str, pieces: Iterable[memoryview]) -> None:
        """Writes all of a chunk to where only `settle` is left to be done."""

    def settle(self, digest: str) -> None:
        """Has a chunk outlive a power cut, under its name. Any process of the run may do it."""

    def record(self, sequence: int, content: bytes) -> None:
        """Writes down what a chunk is; that counts once the chunk has its name."""


def read_placed(content: bytes) -> Placed | None:
    """The inverse of `to_bytes`; None for what a kill or a power cut left of one."""
    value = read_object(content)
    if value is None:
        return None
    chunk = value["chunk"]
    shapes = tuple(None if shape is None else tuple(shape) for shape in chunk.pop("shapes"))
    filters = tuple(chunk.pop("filters"))
    start, stop = tuple(value["start"]), tuple(value["stop"])
    skipped = tuple(Skipped(**some) for some in value["skipped"])
    record = ChunkRecord(**chunk, shapes=shapes, filters=filters)
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
