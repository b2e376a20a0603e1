"""Chunks that are read by ranges into private memory, past the cache."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from millstream.format import PUBLIC, ChunkTable, ChunkView, Undoing
from millstream.reading.origin import Origin
from millstream.reading.reader import Rows
from millstream.reading.sparse import PrivateChunk, lead_of

# All together.
MAX_CHUNKS = 1_024
MAX_BYTES = 256_000_000
# What a request costs beyond its bytes: as much time as these many bytes would take.
REQUEST_BYTES = 262_144


class PrivateChunks:
    """Parts of chunks, the longest unused forgotten first.

    All chunks of a call are read in two rounds: their leads, and what their rows need.
    """

    def __init__(
        self, origin: Origin, table: ChunkTable, *, verify: bool, undoing: Undoing = PUBLIC
    ) -> None:
        self._origin, self._table, self._verify = origin, table, verify
        self._undoing = undoing
        self._chunks: OrderedDict[int, PrivateChunk] = OrderedDict()
        self._paid: dict[int, int] = {}  # what reading a chunk by ranges has cost, in bytes

    def __contains__(self, chunk: int) -> bool:
        return chunk in self._chunks

    def __len__(self) -> int:
        return len(self._chunks)

    @property
    def nbytes(self) -> int:
        """The bytes of memory that are in use."""
        return sum(chunk.nbytes for chunk in self._chunks.values())

    def views(
        self, wanted: Sequence[tuple[int, Rows]], fields: Sequence[int]
    ) -> dict[int, ChunkView]:
        """Chunks in which these rows of these fields can be read."""
        self._bring_leads([chunk for chunk, _ in wanted if chunk not in self._chunks])
        asks = []
        for chunk, rows in wanted:
            self._chunks.move_to_end(chunk)
            if pieces := self._chunks[chunk].lacking(fields, rows):
                asks.append((chunk, pieces))
        for (chunk, pieces), contents in zip(asks, self._fetch(asks), strict=True):
            self._chunks[chunk].take(pieces, contents)
        views = {chunk: self._chunks[chunk].view for chunk, _ in wanted}
        self._forget_some()
        return views

    def has_paid(self, chunk: int) -> bool:
        """Whether reading it by ranges has cost as much as fetching it would."""
        return self._paid.get(chunk, 0) >= int(self._table.sizes[chunk])

    def start_paying(self, chunk: int) -> None:
        """Counts its cost from nothing."""
        self._paid.pop(chunk, None)

    def forget(self, chunk: int) -> bool:
        """Frees its memory; False if there was none."""
        return self._chunks.pop(chunk, None) is not None

    def clear(self) -> None:
        """Frees all memory."""
        self._chunks.clear()

    def _bring_leads(self, chunks: Sequence[int]) -> None:
        asks = [(chunk, [(0, lead_of(self._table, chunk))]) for chunk in chunks]
        for chunk, (lead,) in zip(chunks, self._fetch(asks), strict=True):
            made = PrivateChunk(
                lead, self._table, chunk, verify=self._verify, undoing=self._undoing
            )
            self._chunks[chunk] = made

    def _fetch(
        self, asks: Sequence[tuple[int, list[tuple[int, int]]]]
    ) -> list[Sequence[bytes | memoryview]]:
        if not asks:
            return []
        for chunk, pieces in asks:
            cost = sum(REQUEST_BYTES + stop - start for start, stop in pieces)
            self._paid[chunk] = self._paid.get(chunk, 0) + cost
        return self._origin.ranges(asks)

    def _forget_some(self) -> None:
        held = self.nbytes
        while len(self._chunks) > MAX_CHUNKS or (len(self._chunks) > 1 and held > MAX_BYTES):
            _, forgotten = self._chunks.popitem(last=False)
            held -= forgotten.nbytes
