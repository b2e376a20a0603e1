"""The chunks of a dataset that lies elsewhere: through the cache, or by ranges past it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass

from millstream.cache import Cache, Lease
from millstream.errors import StorageError
from millstream.format import ChunkTable, ChunkView
from millstream.format.keys import chunk_key
from millstream.reading.chunks import listed_view, missing_chunk
from millstream.reading.reader import Rows
from millstream.reading.sparse import SparseChunk
from millstream.store import ReadableStore

# A lease takes two descriptors, one to lock and one to map, and a process often has no more
# than 1,024 of them for all its datasets.
MAX_LEASES = 128
# Of chunks that are read by ranges, all together.
MAX_SPARSE = 1_024
MAX_SPARSE_BYTES = 256_000_000
# What a request costs beyond its bytes: as much time as these many bytes would take.
REQUEST_BYTES = 262_144
# How much of a chunk is in memory while it is fetched.
PIECE_BYTES = 8_388_608


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadStats:
    """What reading has cost so far; adds up over datasets and processes.

    fetched: whole chunks, and their bytes, from the store. opened: chunks that were in the cache
    already. ranged: requests for parts of chunks, and the bytes of these. replaced: copies in the
    cache that had gone bad.
    """

    fetched_chunks: int = 0
    fetched_bytes: int = 0
    opened_chunks: int = 0
    ranged_requests: int = 0
    ranged_bytes: int = 0
    replaced_chunks: int = 0

    def __add__(self, other: ReadStats) -> ReadStats:
        mine, others = asdict(self), asdict(other)
        return ReadStats(**{name: mine[name] + others[name] for name in mine})

    def __sub__(self, other: ReadStats) -> ReadStats:
        mine, others = asdict(self), asdict(other)
        return ReadStats(**{name: mine[name] - others[name] for name in mine})


class CachedChunks:
    """Opens chunks by their number out of the cache, where they are fetched to if missing.

    A chunk that does not fit into the cache is read by ranges into private memory. Once that has
    cost as much as fetching the chunk would, it is worth its place: the leases here that were not
    used for longest are given back, and it is fetched. Were they given back at once, each row
    would cost a chunk where more chunks are read in turn than fit.
    """

    def __init__(
        self, store: ReadableStore, table: ChunkTable, cache: Cache, *, verify: bool
    ) -> None:
        self._store, self._table, self._cache, self._verify = store, table, cache, verify
        self._leases: OrderedDict[int, Lease] = OrderedDict()
        self._views: dict[int, ChunkView] = {}  # of leases
        self._sparse: OrderedDict[int, SparseChunk] = OrderedDict()
        self._paid: dict[int, int] = {}  # what reading a chunk by ranges has cost, in bytes
        self.stats = ReadStats()

    def view(self, chunk: int, fields: Sequence[int], rows: Rows) -> ChunkView:
        """A chunk in which these rows of these fields can be read; it is fetched if it fits.

        Raises CorruptData if the chunk is missing or not the one that the manifest lists, and
        what the store raises.
        """
        return self._view(chunk, fields, rows, fetch=True)

    @property
    def random_access(self) -> RandomAccess:
        """The same chunks for who reads a row here and there, and fetches no chunk for that."""
        return RandomAccess(self)

    def renew(self, chunks: Iterable[int]) -> bool:
        """Forgets copies of these chunks that went bad; True if reading again may help.

        What the store itself gave is not asked for twice.
        """
        renewed = False
        for chunk in set(chunks):
            self._sparse.pop(chunk, None)
            lease = self._leases.get(chunk)
            if lease is not None and not lease.is_intact():
                self._cache.discard(lease)
                self._give_back(chunk)
                self.stats += ReadStats(replaced_chunks=1)
                renewed = True
        return renewed

    def close(self) -> None:
        """Gives all leases back. Views that were handed out can still be read."""
        for chunk in list(self._leases):
            self._give_back(chunk)
        self._sparse.clear()

    def _view(self, chunk: int, fields: Sequence[int], rows: Rows, *, fetch: bool) -> ChunkView:
        if chunk not in self._leases and (chunk not in self._sparse or self._has_paid(chunk)):
            self._open(chunk, fetch=fetch)
        if chunk in self._leases:
            self._leases.move_to_end(chunk)
            if chunk not in self._views:
                content = self._leases[chunk].content
                view = listed_view(content, self._table, chunk, verify=self._verify)
                self._views[chunk] = view
            return self._views[chunk]
        return self._ranged(chunk, fields, rows)

    # In the cache ---------------------------------------------------------------------------

    def _open(self, chunk: int, *, fetch: bool) -> None:
        """Takes a lease if there is one to be had."""
        paid = self._has_paid(chunk)
        lease = self._lease(chunk, fetch=fetch or paid)
        if lease is None and paid:
            del self._paid[chunk]
            if self._make_room(int(self._table.sizes[chunk])):
                lease = self._lease(chunk, fetch=True)
        if lease is not None:
            self._paid.pop(chunk, None)
            self._sparse.pop(chunk, None)
            self._leases[chunk] = lease
            while len(self._leases) > MAX_LEASES:
                self._give_back(next(iter(self._leases)))

    def _has_paid(self, chunk: int) -> bool:
        return self._paid.get(chunk, 0) >= int(self._table.sizes[chunk])

    def _lease(self, chunk: int, *, fetch: bool) -> Lease | None:
        name, size = self._table.name(chunk), int(self._table.sizes[chunk])
        before = self.stats
        lease = (
            self._cache.lease(name, size, lambda: self._pieces(name, size), verify=self._verify)
            if fetch
            else self._cache.find(name, size)
        )
        if lease is not None and self.stats is before:
            self.stats += ReadStats(opened_chunks=1)
        return lease

    def _pieces(self, name: str, size: int) -> Iterator[bytes | memoryview]:
        self.stats += ReadStats(fetched_chunks=1)
        for start in range(0, size, PIECE_BYTES):
            piece = self._get(name, start, min(start + PIECE_BYTES, size))
            self.stats += ReadStats(fetched_bytes=len(piece))
            yield piece

    def _make_room(self, size: int) -> bool:
        """Gives back leases, the longest unused first, if these bytes may then fit."""
        if size > self._cache.limit or not self._leases:
            return False
        while self._leases and size > 0:
            oldest = next(iter(self._leases))
            size -= int(self._table.sizes[oldest])
            self._give_back(oldest)
        return True

    def _give_back(self, chunk: int) -> None:
        self._views.pop(chunk, None)
        self._leases.pop(chunk).close()

    # By ranges ------------------------------------------------------------------------------

    def _ranged(self, chunk: int, fields: Sequence[int], rows: Rows) -> ChunkView:
        if chunk not in self._sparse:
            self._sparse[chunk] = self._make_sparse(chunk)
        self._sparse.move_to_end(chunk)
        sparse = self._sparse[chunk]
        sparse.need(fields, rows)
        while len(self._sparse) > MAX_SPARSE or (
            len(self._sparse) > 1 and self._sparse_bytes() > MAX_SPARSE_BYTES
        ):
            self._sparse.popitem(last=False)
        return sparse.view

    def _make_sparse(self, chunk: int) -> SparseChunk:
        def get(start: int, stop: int) -> bytes | memoryview:
            piece = self._get(name, start, stop)
            self._paid[chunk] = self._paid.get(chunk, 0) + REQUEST_BYTES + len(piece)
            self.stats += ReadStats(ranged_requests=1, ranged_bytes=len(piece))
            return piece

        name = self._table.name(chunk)
        return SparseChunk(self._table, chunk, get, verify=self._verify)

    def _sparse_bytes(self) -> int:
        return sum(sparse.nbytes for sparse in self._sparse.values())

    def _get(self, name: str, start: int, stop: int) -> bytes | memoryview:
        key = chunk_key(name)
        try:
            return self._store.get(key, (start, stop))
        except FileNotFoundError:
            raise missing_chunk(self._store, name, key) from None
        except OSError as error:
            if isinstance(error, StorageError):
                raise
            raise StorageError(
                f"cannot read {key} of {self._store}: {error.strerror or error}"
            ) from error


class RandomAccess:
    """Reads what is in the cache; else ranges, until they have cost as much as the chunk."""

    def __init__(self, chunks: CachedChunks) -> None:
        self._chunks = chunks

    def view(self, chunk: int, fields: Sequence[int], rows: Rows) -> ChunkView:
        """A chunk in which these rows of these fields can be read."""
        return self._chunks._view(chunk, fields, rows, fetch=False)

    def renew(self, chunks: Iterable[int]) -> bool:
        """As that of CachedChunks."""
        return self._chunks.renew(chunks)
