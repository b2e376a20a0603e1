"""The chunks of a dataset that lies elsewhere: through the cache, or by ranges past it."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from millstream.cache import Cache, Lease
from millstream.format import PUBLIC, ChunkTable, ChunkView, Undoing
from millstream.reading.chunks import listed_view
from millstream.reading.fetching.asks import Piece, Presence
from millstream.reading.origin import Origin, Remote
from millstream.reading.private import PrivateChunks
from millstream.reading.reader import Rows
from millstream.reading.sparse import SparseChunk, lead_of
from millstream.reading.stats import ReadStats

# A lease takes two descriptors, one to lock and one to map, and a process often has no more
# than 1,024 of them for all its datasets.
MAX_LEASES = 128
# Nor may leases of what is long read keep others out of the cache: of its limit they take this
# part at most, in each process, where it is mostly the same chunks.
LEASED_PART = 4
# How often a chunk is asked for again that arrives damaged.
MAX_RETRIES = 3


@dataclass(slots=True)
class _Copy:
    """A chunk in the cache. whole: or else only what `part` says can be read."""

    lease: Lease
    whole: bool
    part: SparseChunk | None = None
    view: ChunkView | None = None


class CachedChunks:
    """Opens chunks by their number out of the cache, where they are fetched to if missing.

    One that is on its way can be read as far as it has come. One that does not fit into the cache
    is read by ranges into private memory. Once that has cost as much as fetching the chunk would,
    it is worth its place: the leases here that were not used for longest are given back, and it is
    fetched. Were they given back at once, each row would cost a chunk where more chunks are read
    in turn than fit.

    in_parts: which chunks are never fetched whole for who reads them in order, since only little
    of them is wanted. That is then read at once, for all rows of the chunk.
    """

    def __init__(
        self,
        remote: Remote,
        table: ChunkTable,
        cache: Cache,
        *,
        verify: bool,
        undoing: Undoing = PUBLIC,
        in_parts: npt.NDArray[np.bool_] | None = None,
    ) -> None:
        self._table, self._cache, self._verify = table, cache, verify
        self._undoing = undoing
        self.origin = Origin(remote, table)
        self._in_parts = np.zeros(len(table), np.bool_) if in_parts is None else in_parts
        self._private = PrivateChunks(self.origin, table, verify=verify, undoing=undoing)
        self._copies: OrderedDict[int, _Copy] = OrderedDict()
        self._retries: Counter[int] = Counter()  # of chunks that were not what they should be
        self._stats = ReadStats()

    @property
    def stats(self) -> ReadStats:
        """What reading has cost this process."""
        return self._stats + self.origin.stats

    def views(self, wanted: Sequence[tuple[int, Rows]], fields: Sequence[int]) -> list[ChunkView]:
        """Chunks in which these rows of these fields can be read; those that fit are fetched.

        Raises CorruptData if a chunk is missing or not the one that the manifest lists, and what
        the store raises.
        """
        return self._views(wanted, fields, fetch=True)

    @property
    def random_access(self) -> RandomAccess:
        """The same chunks for who reads a row here and there, and fetches no chunk for that."""
        return RandomAccess(self)

    def renew(self, chunks: Iterable[int]) -> bool:
        """Forgets copies of these chunks that went bad; True if reading again may help.

        A byte may have changed on the way here; only what comes again and again is the store's.
        """
        renewed, tried = False, set(chunks)
        for chunk in tried:
            if self._private.forget(chunk) or self._discard(chunk):
                self._retries[chunk] += 1
                renewed |= self._retries[chunk] <= MAX_RETRIES
        if not renewed:  # after the error the copy at hand may still be the bad one: one more try
            self._retries.update({chunk: MAX_RETRIES - 1 - self._retries[chunk] for chunk in tried})
        return renewed

    def recovered(self, chunks: Iterable[int]) -> None:
        """Reading these again has helped: should they go bad another time, they are renewed."""
        for chunk in chunks:
            del self._retries[chunk]

    def close(self) -> None:
        """Gives all leases back. Views that were handed out can still be read."""
        for chunk in list(self._copies):
            self._give_back(chunk)
        self._private.clear()

    def _views(
        self, wanted: Sequence[tuple[int, Rows]], fields: Sequence[int], *, fetch: bool
    ) -> list[ChunkView]:
        self._open([chunk for chunk, _ in wanted if chunk not in self._copies], fetch=fetch)
        self._wait(wanted, fields)
        beyond = [
            (chunk, self._all_rows(chunk) if fetch and self._in_parts[chunk] else rows)
            for chunk, rows in wanted
            if chunk not in self._copies
        ]
        private = self._private.views(beyond, fields)
        views = [private[c] if c in private else self._view(c) for c, _ in wanted]
        self._give_some_back()
        return views

    def _all_rows(self, chunk: int) -> Rows:
        return np.arange(int(self._table.rows[chunk]), dtype=np.int64)

    # In the cache ---------------------------------------------------------------------------

    def _open(self, chunks: Sequence[int], *, fetch: bool) -> None:
        """Takes leases where they are to be had."""
        missing = []
        for chunk in chunks:
            wanted = self.origin.wanted(chunk)
            lease = self._cache.find(wanted.name, wanted.size)
            if lease is not None:
                self._keep(chunk, lease, whole=True)
            elif self._is_worth_it(chunk, fetch=fetch):
                missing.append(chunk)
        for chunk, presence in zip(missing, self._fill_leads(missing), strict=True):
            if presence is Presence.NONE and self._private.has_paid(chunk):
                self._private.start_paying(chunk)
                if self._make_room(int(self._table.sizes[chunk])):
                    (presence,) = self._fill_leads([chunk])
            if presence is not Presence.NONE:
                self._take(chunk, whole=presence is Presence.WHOLE)

    def _is_worth_it(self, chunk: int, *, fetch: bool) -> bool:
        asked = fetch and chunk not in self._private
        return not self._in_parts[chunk] and (asked or self._private.has_paid(chunk))

    def _fill_leads(self, chunks: Sequence[int]) -> Sequence[Presence]:
        asks = [(chunk, [(0, lead_of(self._table, chunk))]) for chunk in chunks]
        return self.origin.fill(asks).presence if asks else []

    def _take(self, chunk: int, *, whole: bool) -> None:
        wanted = self.origin.wanted(chunk)
        find = self._cache.find if whole else self._cache.arriving
        if (lease := find(wanted.name, wanted.size)) is not None:
            self._keep(chunk, lease, whole=whole)

    def _keep(self, chunk: int, lease: Lease, *, whole: bool) -> None:
        self._stats += ReadStats(opened_chunks=1)
        self._private.start_paying(chunk)
        self._private.forget(chunk)
        self._copies[chunk] = _Copy(lease, whole)

    def _wait(self, wanted: Sequence[tuple[int, Rows]], fields: Sequence[int]) -> None:
        """Waits for what rows need of chunks that are on their way."""
        asks = []
        for chunk, rows in wanted:
            copy = self._copies.get(chunk)
            if copy is None or copy.whole:
                continue
            if copy.part is None:
                copy.part = SparseChunk(
                    copy.lease.content,
                    self._table,
                    chunk,
                    verify=self._verify,
                    undoing=self._undoing,
                )
                copy.view = copy.part.view
            if pieces := copy.part.lacking(fields, rows):
                asks.append((chunk, pieces))
        self._wait_for(asks)

    def _wait_for(self, asks: Sequence[tuple[int, list[Piece]]]) -> None:
        try:
            presence = self.origin.fill(asks).presence if asks else []
        except BaseException:
            for chunk, _ in asks:
                self._give_back(chunk)
            raise
        for (chunk, pieces), there in zip(asks, presence, strict=True):
            copy = self._copies[chunk]
            if there is Presence.NONE or not self._cache.is_current(copy.lease):
                self._give_back(chunk)  # it was given up meanwhile
                continue
            copy.whole = there is Presence.WHOLE
            if copy.part is not None:
                copy.part.came(pieces)

    def _view(self, chunk: int) -> ChunkView:
        copy = self._copies[chunk]
        self._copies.move_to_end(chunk)
        if copy.view is None:
            content = copy.lease.content
            copy.view = listed_view(
                content, self._table, chunk, verify=self._verify, undoing=self._undoing
            )
        return copy.view

    def _discard(self, chunk: int) -> bool:
        """Removes a copy that is not what its name says; False if it is, or there is none."""
        copy = self._copies.get(chunk)
        if copy is None:
            return False
        if not copy.whole:
            self._wait_for([(chunk, [(0, int(self._table.sizes[chunk]))])])
            if chunk not in self._copies:
                return True
        if copy.lease.is_intact():
            return False
        self._cache.discard(copy.lease)
        self._give_back(chunk)
        self._stats += ReadStats(replaced_chunks=1)
        return True

    def _make_room(self, size: int) -> bool:
        """Gives back leases, the longest unused first, if these bytes may then fit."""
        if size > self._cache.limit or not self._copies:
            return False
        while self._copies and size > 0:
            oldest = next(iter(self._copies))
            size -= int(self._table.sizes[oldest])
            self._give_back(oldest)
        return True

    def _give_some_back(self) -> None:
        held = sum(len(copy.lease.content) for copy in self._copies.values())
        most = self._cache.limit // LEASED_PART
        while len(self._copies) > MAX_LEASES or (len(self._copies) > 1 and held > most):
            chunk, copy = next(iter(self._copies.items()))
            held -= len(copy.lease.content)
            self._give_back(chunk)

    def _give_back(self, chunk: int) -> None:
        if (copy := self._copies.pop(chunk, None)) is not None:
            copy.lease.close()


class RandomAccess:
    """Reads what is in the cache; else ranges, until they have cost as much as the chunk."""

    def __init__(self, chunks: CachedChunks) -> None:
        self._chunks = chunks

    def views(self, wanted: Sequence[tuple[int, Rows]], fields: Sequence[int]) -> list[ChunkView]:
        """Chunks in which these rows of these fields can be read."""
        return self._chunks._views(wanted, fields, fetch=False)

    def renew(self, chunks: Iterable[int]) -> bool:
        """As that of CachedChunks."""
        return self._chunks.renew(chunks)

    def recovered(self, chunks: Iterable[int]) -> None:
        """As that of CachedChunks."""
        self._chunks.recovered(chunks)
