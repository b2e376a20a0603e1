"""Files as the rows of a stream."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, pairwise
from typing import Any, cast

import numpy as np

from millstream.errors import MillstreamError, ObjectNotFound, RowOutOfRange, StorageError
from millstream.format import Field, Schema, bind, builtin, rebuilder
from millstream.format.tree import Tree, tree_of
from millstream.reading.decoding import Decode, Decoder, make_decoders
from millstream.reading.fetching.asks import Buffer, ListedNeeds, as_listed
from millstream.reading.fetching.client import FetchedStore
from millstream.reading.output import Room
from millstream.reading.protocol import Followed, MakeKeys, NeedyEpoch, ReadRows
from millstream.reading.raw.ahead import FilesAhead
from millstream.reading.raw.fetched import FetchedFiles, TakenFiles
from millstream.reading.raw.items import Items
from millstream.reading.reader import Empty, Rows, Values
from millstream.reading.source import StoredRows
from millstream.reading.stats import NOTHING, ReadStats
from millstream.store import ListingStore, ObjectInfo

# An order takes memory and time by its chunks. Fewer would be shuffled less well.
MOST_CHUNKS = 65_536

# Where files lie: they are read there, or fetched from there.
Place = ListingStore | FetchedStore


class FileSource:
    """Samples of one file each, or of some; pickles as what was listed, and where.

    decode: what each file of a sample becomes, None for bytes; None where samples are of different
    numbers of files. in_memory: whether what is far away goes past the cache. A chunk is nothing
    but a run of samples: there are many, so that an epoch begins with samples of everywhere.
    """

    block_size: None = None

    def __init__(
        self,
        place: Place,
        items: Items,
        decode: tuple[Decode | None, ...] | None,
        *,
        in_memory: bool = False,
    ) -> None:
        self.place, self._items, self._decode = place, items, decode
        self._in_memory = in_memory
        self.next_up: Followed | None = None
        self._far: FetchedFiles | TakenFiles | None = None
        if isinstance(place, FetchedStore):
            self._far = TakenFiles(place) if in_memory else FetchedFiles(place)
        schema = _schema(None if items.ends is None or decode is None else len(decode))
        self._schema, self._rebuild = schema, rebuilder(schema.tree)
        wanted = zip(schema.fields, decode or (), strict=decode is not None)
        self._decoders = make_decoders(
            schema.fields,
            bind(schema, builtin()),
            {field.name: how for field, how in wanted if how is not None},
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(FileSource, in_memory=self._in_memory), self._state

    def again(self) -> FileSource:
        """The same, for another stream."""
        return FileSource(*self._state, in_memory=self._in_memory)

    @property
    def _state(self) -> tuple[Place, Items, tuple[Decode | None, ...] | None]:
        return self.place, self._items, self._decode

    # What there is ----------------------------------------------------------------------------

    @property
    def tree(self) -> Tree:
        """A value, or a list of them."""
        return self._schema.tree

    @property
    def fields(self) -> Sequence[Field]:
        """One a file."""
        return self._schema.fields

    @property
    def digest(self) -> str:
        """Names the files, as they were listed."""
        place = str(self.place).removeprefix("local:")  # the same folder, read through the cache
        return self._items.named(place.rstrip("/"))

    @property
    def chunk_rows(self) -> Rows:
        """The samples of each chunk, int64."""
        count = len(self._items)
        each = max(1, -(-count // MOST_CHUNKS))
        borders = np.append(np.arange(0, count, each, dtype=np.int64), count)
        return np.diff(borders)

    @property
    def chunk_bytes(self) -> None:
        """None: files are fetched one by one."""
        return None

    @property
    def files(self) -> int:
        """How many there are in all samples."""
        return len(self._items.files)

    @property
    def nbytes(self) -> int:
        """The bytes of all files."""
        return self._items.files.nbytes

    def rebuild(self, leaves: Sequence[Any]) -> Any:
        """A sample's structure around one thing a field."""
        return self._rebuild(leaves)

    def beside_decoders(self, stored: Sequence[Values]) -> Iterator[tuple[Decoder, Values]]:
        """Each field's values beside what decodes them."""
        return zip(self._decoders, stored, strict=True)

    def name_of(self, row: int) -> str:
        """The files of a sample."""
        numbers, _ = self._items.files_of(np.array([row], np.int64))
        return f"{self.place}: {', '.join(self._items.files.names(numbers))}"

    # Reading ----------------------------------------------------------------------------------

    def read(self, rows: Rows, keys: MakeKeys, empty: Empty = np.empty) -> ReadRows:
        """Samples, read whole; RowOutOfRange, ObjectChanged, and what the store raises."""
        if len(rows) and rows.view(np.uint64).max() >= len(self._items):  # negative ones are large
            raise RowOutOfRange(f"a row lies outside a dataset of {len(self._items):,} samples")
        before = self._waited
        numbers, counts = self._items.files_of(rows)
        contents = self._contents(self._items.files.listed(numbers))
        waited = self._waited - before
        if self._decode is None:
            return _Ragged(self, contents, counts, rows.copy(), waited)
        width = len(self._decode)
        stored = [cast(list[memoryview], contents[file::width]) for file in range(width)]
        return StoredRows(self, stored, rows.copy(), waited, keys)

    def pick(self, rows: Rows, keys: MakeKeys) -> ReadRows:
        """The same: a file is all that a sample needs."""
        return self.read(rows, keys)

    def sample(self, row: int, keys: MakeKeys) -> Any:
        """One sample."""
        return next(self.read(np.array([row], np.int64), keys).samples())

    def _contents(self, listed: Sequence[ObjectInfo]) -> list[Buffer]:
        if self._far is not None:
            place = str(self.place)
            return self._far.contents([as_listed(place, info) for info in listed])
        return [_read(cast(ListingStore, self.place), info) for info in listed]

    # Ahead ------------------------------------------------------------------------------------

    def follow(
        self, epochs: Iterable[NeedyEpoch], rank: int, ranks: int, among: int = 1
    ) -> FilesAhead | None:
        """Has files fetched in the order in which they are read; None if they are near."""
        if not isinstance(self.place, FetchedStore):
            return None
        following = self.place.follow_files(among, in_memory=self._in_memory)
        return FilesAhead(following, epochs, rank, ranks, self._needs)

    def _needs(self, rows: Rows, positions: Rows) -> ListedNeeds:
        numbers, counts = self._items.files_of(rows)
        at = np.repeat(positions, counts)
        some = self._items.files.sizes[numbers] > 0
        listed = self._items.files.listed(numbers[some])
        return ListedNeeds(place=str(self.place), listed=listed, positions=at[some].tolist())

    @property
    def is_near(self) -> bool:
        """Whether the files are read where they lie."""
        return self._far is None

    @property
    def stats(self) -> ReadStats:
        """What this process has read, whole files that were fetched not counted."""
        return NOTHING if self._far is None else self._far.stats

    @property
    def _waited(self) -> float:
        return 0.0 if self._far is None else self._far.waited

    def fetched(self) -> ReadStats:
        """The whole files that this process and its workers had fetched."""
        if not isinstance(self.place, FetchedStore):
            return ReadStats()
        files, nbytes = self.place.fetched()
        return ReadStats(fetched_chunks=files, fetched_bytes=nbytes)


def _schema(width: int | None) -> Schema:
    """Of samples that are a list of so many files, or (None) one value."""
    tree = tree_of(0 if width is None else [0] * width)
    names = ["value"] if width is None else list(map(str, range(width)))
    return Schema(tree=tree, fields=tuple(Field(name=name, kind="bytes") for name in names))


def _read(store: ListingStore, listed: ObjectInfo) -> bytes | memoryview:
    try:
        return store.get_listed(listed)
    except FileNotFoundError:
        raise ObjectNotFound(
            f"{store}: {listed.key} is gone; it was there when this dataset listed its files: put "
            "it back, or open the dataset anew"
        ) from None
    except OSError as error:
        if isinstance(error, MillstreamError):
            raise
        raise StorageError(
            f"cannot read {store}/{listed.key}: {error.strerror or error}"
        ) from error


@dataclass(frozen=True, slots=True, eq=False)
class _Ragged:
    """Samples of different numbers of files, one after another. counts: how many each has."""

    source: FileSource
    contents: Sequence[Buffer]
    counts: Sequence[int]
    taken: Rows
    waited: float

    def samples(self) -> Iterator[list[bytes]]:
        """Lists of bytes."""
        for start, stop in pairwise([0, *accumulate(self.counts)]):
            yield list(map(bytes, self.contents[start:stop]))

    def columns(self, output: Room) -> list[Any]:
        """The samples themselves."""
        return [list(self.samples())]
