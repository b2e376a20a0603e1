"""One opened version of a dataset: rows in, decoded samples or columns out."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from millstream.errors import CannotDecrypt, CorruptData, DatasetNotFound, StateMismatch
from millstream.format import (
    WHOLE,
    ChunkTable,
    Field,
    Manifest,
    bind,
    builtin,
    rebuilder,
)
from millstream.format.codecs import ArrayCodec
from millstream.format.keys import CHUNKS
from millstream.format.tree import Tree
from millstream.format.view import Undoing, undoing_with
from millstream.reading.cached import CachedChunks
from millstream.reading.choice import Reading
from millstream.reading.chunks import MappedChunks
from millstream.reading.decoding import Decoded, Decoder, make_decoders
from millstream.reading.fetching.asks import Needs
from millstream.reading.fetching.client import FetchedStore, Following
from millstream.reading.items import items_of
from millstream.reading.output import Room
from millstream.reading.private import REQUEST_BYTES
from millstream.reading.protocol import Decodes, Followed, MakeKeys, NeedyEpoch
from millstream.reading.reader import Empty, Rows, Values
from millstream.reading.selected import select
from millstream.reading.sharing import SharedMemories
from millstream.reading.stats import NOTHING, ReadStats, now
from millstream.store import NearStore
from millstream.versions import load_version

# Where a dataset lies: its files are read there, or fetched from there.
Place = NearStore | FetchedStore


class Source:
    """A dataset version, ready to be read; pickles as its place and its version's digest.

    memories: where opened chunks go; by default its own, if it needs any.
    """

    def __init__(
        self,
        place: Place,
        version: int | None,
        reading: Reading,
        memories: SharedMemories | None = None,
    ) -> None:
        self.place, self._reading = place, reading
        loaded = load_version(place, version)
        self.manifest: Manifest = loaded.manifest
        self.digest = loaded.digest
        self._items = items_of(loaded.manifest, reading.item_loader)
        self.schema = self._items.schema
        self._tree, self._numbers = select(self.schema.tree, self.schema.fields, reading.fields)
        codecs = bind(
            self.schema,
            builtin(allow_pickle=reading.allow_pickle, first=reading.serializers),
            closed=reading.closed | self._left_out,
        )
        decoders = make_decoders(self.schema.fields, codecs, reading.decode)
        self._decoders = [decoders[number] for number in self._numbers]
        self._of_one = [decoder.of_one() for decoder in self._decoders]
        self._rebuild = rebuilder(self._tree)
        dtypes = [
            codec.storage(field.dtype) if isinstance(codec, ArrayCodec) else None
            for field, codec in zip(self.schema.fields, codecs, strict=True)
        ]
        self.next_up: Followed | None = None  # what goes ahead of an epoch that is still to come
        self._cached: CachedChunks | None = None
        # Leases and parts of chunks are for one thread at a time; what is mapped is for all.
        self._lock: AbstractContextManager[Any] = nullcontext()
        if memories is None and self.manifest.filters:
            memories = SharedMemories()
        self._memories = memories
        self._open(dtypes, undoing_with(reading.encryption, memories))

    def _open(self, dtypes: Sequence[np.dtype[Any] | None], undoing: Undoing) -> None:
        """Makes the readers. dtypes: of all fields as they are stored; None for blobs."""
        table, place, reading = self.manifest.chunks, self.place, self._reading
        if isinstance(place, FetchedStore):
            widths = [dtypes[number] for number in self._numbers]
            row_bytes = _row_bytes(self.fields, widths)
            self._in_parts = _in_parts(table, None if WHOLE in self.manifest.filters else row_bytes)
            cache, verify = place.cache(), reading.verify
            self._cached = CachedChunks(
                place, table, cache, verify=verify, undoing=undoing, in_parts=self._in_parts
            )
            self._lock = threading.Lock()
            here_and_there = self._cached.random_access
            self._reader = self._items.reader(self._cached, here_and_there, dtypes)
            self._picker = self._items.reader(here_and_there, here_and_there, dtypes)
        else:
            mapped = MappedChunks(place, table, verify=reading.verify, undoing=undoing)
            self._reader = self._picker = self._items.reader(mapped, mapped, dtypes)

    def __reduce__(self) -> tuple[Any, ...]:
        version = self.manifest.version
        return _reopen, (self.place, version, self._reading, self.digest, self._memories)

    def again(self) -> Source:
        """The same version, for another stream: what goes ahead of the one is not the other's."""
        other = object.__new__(Source)
        other.__dict__.update(self.__dict__, next_up=None)
        return other

    @property
    def tree(self) -> Tree:
        """The structure of a sample, as it is read."""
        return self._tree

    @property
    def fields(self) -> list[Field]:
        """The fields that are read."""
        return [self.schema.fields[number] for number in self._numbers]

    @property
    def _left_out(self) -> set[str]:
        wanted = {field.name for field in self.fields}
        return {field.name for field in self.schema.fields} - wanted

    @property
    def chunk_rows(self) -> Rows:
        """The rows of each chunk, int64; blocks belong to the chunk where they start."""
        return self._items.counts

    @property
    def chunk_bytes(self) -> Rows:
        """The bytes of each chunk, int64."""
        return self.manifest.chunks.sizes.astype(np.int64)

    @property
    def nbytes(self) -> int:
        """The bytes of all chunks."""
        return self.manifest.nbytes

    @property
    def block_size(self) -> int | None:
        """The tokens of a row, if rows are blocks of tokens."""
        return self._items.block_size

    def read(self, rows: Rows, keys: MakeKeys, empty: Empty = np.empty) -> StoredRows:
        """Rows by their numbers (int64, in any order, repeats allowed), read and verified.

        keys: of what decoding draws, one a row. empty: makes the columns. Raises RowOutOfRange.
        """
        began, before = now(), self._waited
        with self._lock:
            try:
                stored, taken = self._reader.read(rows, self._numbers, empty)
            except (CorruptData, CannotDecrypt) as error:
                raise _placed(self.place, error) from error.__cause__
            return StoredRows(self, stored, taken, self._waited_since(began, before), keys)

    def pick(self, rows: Rows, keys: MakeKeys) -> StoredRows:
        """The same, for a row here and there: no chunk is fetched for it if a part will do."""
        began, before = now(), self._waited
        with self._lock:
            try:
                stored, taken = self._picker.read(rows, self._numbers)
            except (CorruptData, CannotDecrypt) as error:
                raise _placed(self.place, error) from error.__cause__
            return StoredRows(self, stored, taken, self._waited_since(began, before), keys)

    def sample(self, row: int, keys: MakeKeys) -> Any:
        """One sample, by the number of a row that the version has. keys: as in `read`."""
        with self._lock:
            try:
                stored = self._picker.read_one(row, self._numbers)
            except (CorruptData, CannotDecrypt) as error:
                raise _placed(self.place, error) from error.__cause__
        rows = Decoded(keys=keys, name=lambda number: self.name_of(row))
        pairs = zip(self._of_one, stored, strict=True)
        return self._rebuild([value_of(values, rows) for value_of, values in pairs])

    @property
    def is_near(self) -> bool:
        """Whether it is read where it lies."""
        return self._cached is None

    @property
    def stats(self) -> ReadStats:
        """What this process has read, whole chunks not counted; NOTHING if that costs nothing."""
        found = NOTHING if self._cached is None else self._cached.stats
        if self._memories is None:
            return found
        return found + ReadStats(opened_bytes=self._memories.opened_bytes)

    @property
    def _waited(self) -> float:
        return 0.0 if self._cached is None else self._cached.origin.waited

    def _waited_since(self, began: float, before: float) -> float:
        """The seconds for the network since then, of the thread that had the lock too."""
        return min(self._waited - before, now() - began)

    def fetched(self) -> ReadStats:
        """The whole chunks of this place that this process and its workers had fetched."""
        if not isinstance(self.place, FetchedStore):
            return ReadStats()
        chunks, nbytes = self.place.fetched()
        return ReadStats(fetched_chunks=chunks, fetched_bytes=nbytes)

    def follow(
        self, epochs: Iterable[NeedyEpoch], rank: int, ranks: int, among: int = 1
    ) -> Following | None:
        """Has what is far away fetched ahead of a rank that goes through these epochs.

        Goes on as long as the result lives, which is told the positions that were passed; they
        count through all epochs. None where nothing is far away. among: the streams that share
        the cache's room.
        """
        if not isinstance(self.place, FetchedStore):
            return None
        chunks, firsts, lasts, before = [], [], [], 0
        for epoch in epochs:
            some = epoch.needs(rank, ranks)
            whole = ~self._in_parts[some.chunk]
            chunks.append(some.chunk[whole])
            firsts.append(before + some.first[whole])
            lasts.append(before + some.last[whole])
            before += epoch.length
        needs = Needs(
            folder=CHUNKS,
            digests=self.manifest.chunks.digests,
            sizes=self.manifest.chunks.sizes.astype(np.int64),
            object=np.concatenate(chunks),
            first=np.concatenate(firsts),
            last=np.concatenate(lasts),
        )
        return self.place.follow(needs, among)

    def beside_decoders(self, stored: Sequence[Values]) -> Iterator[tuple[Decoder, Values]]:
        """Each field's values beside what decodes them."""
        return zip(self._decoders, stored, strict=True)

    def name_of(self, row: int) -> str:
        """A row by its chunk, and its number there, as errors name it."""
        ends = np.cumsum(self.chunk_rows)
        chunk = int(np.searchsorted(ends, row, side="right"))
        first = int(ends[chunk]) - int(self.chunk_rows[chunk])
        return f"chunk {self.manifest.chunks.name(chunk)}, row {row - first}"

    def rebuild(self, leaves: Sequence[Any]) -> Any:
        """A sample's structure around one thing a field."""
        return self._rebuild(leaves)


def _placed(place: Place, error: CorruptData | CannotDecrypt) -> CorruptData | CannotDecrypt:
    """The error, which names a chunk, with the place of the dataset; of several it may be any."""
    told = str(error)
    return error if str(place) in told else type(error)(f"{place}: {told}")


@dataclass(frozen=True, slots=True, eq=False)
class StoredRows:
    """Some rows, not yet decoded.

    taken: the numbers of the rows that these really are. waited: seconds, for the network. keys:
    of what decoding draws, one a row.
    """

    source: Decodes
    stored: Sequence[Values]
    taken: Rows
    waited: float
    keys: MakeKeys

    def samples(self) -> Iterator[Any]:
        """The samples, decoded as they are asked for."""
        if not self.stored:
            return iter([self.source.rebuild([]) for _ in self.taken])
        rows = self._decoded
        fields = [
            decoder.values(values, rows)
            for decoder, values in self.source.beside_decoders(self.stored)
        ]
        return map(self.source.rebuild, zip(*fields, strict=True))

    def columns(self, output: Room) -> list[Any]:
        """The fields: an array (rows, *shape) where there is one, else a list.

        output: makes the arrays that decoding fills.
        """
        rows = self._decoded
        return [
            decoder.batch(values, rows, output)
            for decoder, values in self.source.beside_decoders(self.stored)
        ]

    @property
    def _decoded(self) -> Decoded:
        taken, name_of = self.taken, self.source.name_of
        return Decoded(keys=self.keys, name=lambda number: name_of(int(taken[number])))


def _row_bytes(fields: Sequence[Field], dtypes: Sequence[np.dtype[Any] | None]) -> int | None:
    """The bytes of a row in columns, if these fields are columns of every chunk; else None."""
    total = 0
    for field, dtype in zip(fields, dtypes, strict=True):
        if dtype is None or field.shape is None:
            return None
        total += dtype.itemsize * prod(field.shape)
    return total


def _in_parts(table: ChunkTable, row_bytes: int | None) -> npt.NDArray[np.bool_]:
    """Of which chunks it takes less time to read the columns that are wanted than the whole."""
    if row_bytes is None:
        return np.zeros(len(table), np.bool_)
    cost = 2 * REQUEST_BYTES + table.lead + table.rows.astype(np.int64) * row_bytes
    return cost < table.sizes.astype(np.int64)


def _reopen(
    place: Place, version: int, reading: Reading, digest: str, memories: SharedMemories | None
) -> Source:
    try:
        source = Source(place, version, reading, memories)
    except DatasetNotFound as error:
        raise DatasetNotFound(f"{error}; it was there when this dataset was opened") from None
    if source.digest != digest:
        raise StateMismatch(
            f"{place}, version {version}, is no longer the dataset that was opened: its manifest "
            f"was {digest[:16]}, now {source.digest[:16]}"
        )
    return source
