"""The chunks of a dataset that is near, mapped where they lie."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from millstream.errors import CorruptData, StorageError
from millstream.format import PUBLIC, ChunkTable, ChunkView, Undoing
from millstream.format.keys import chunk_key
from millstream.reading.reader import Rows
from millstream.store import NearStore

# A mapping keeps a descriptor, of which a process often has no more than 1,024; a shuffled
# window reads a few dozen chunks at a time.
MAX_OPEN = 256


class MappedChunks:
    """Opens chunks by their number; keeps the most recently used ones open."""

    def __init__(
        self, store: NearStore, table: ChunkTable, *, verify: bool, undoing: Undoing = PUBLIC
    ) -> None:
        self._store, self._table, self._verify = store, table, verify
        self._undoing = undoing
        self._open: dict[int, ChunkView] = {}  # the longest unused first

    def views(self, wanted: Sequence[tuple[int, Rows]], fields: Sequence[int]) -> list[ChunkView]:
        """Chunks; raises CorruptData for a file that is not the one the manifest lists."""
        return [self.view(chunk) for chunk, _ in wanted]

    def view(self, chunk: int) -> ChunkView:
        """A chunk by its number; raises CorruptData as `views` does."""
        # Other threads may do the same between any two steps; each step of a dict is done at once.
        view = self._open.pop(chunk, None) or self._map(chunk)
        self._open[chunk] = view
        if len(self._open) > MAX_OPEN:
            for oldest in list(self._open)[:-MAX_OPEN]:
                self._open.pop(oldest, None)
        return view

    def renew(self, chunks: Iterable[int]) -> bool:
        """Nothing to renew: there is no copy."""
        return False

    def recovered(self, chunks: Iterable[int]) -> None:
        """Nor can that have helped."""

    def _map(self, chunk: int) -> ChunkView:
        content = _map(self._store, self._table.name(chunk))
        return listed_view(content, self._table, chunk, verify=self._verify, undoing=self._undoing)


def listed_view(
    content: memoryview,
    table: ChunkTable,
    chunk: int,
    *,
    verify: bool,
    undoing: Undoing = PUBLIC,
) -> ChunkView:
    """The rows of a chunk; raises CorruptData if it is not the one that the manifest lists."""
    name = table.name(chunk)
    view = ChunkView(content, name, verify=verify, undoing=undoing)
    tokens = None if table.tokens is None else int(table.tokens[chunk])
    listed = int(table.sizes[chunk]), int(table.rows[chunk]), tokens
    found = len(content), view.layout.rows, view.layout.count_tokens()
    if found != listed:
        raise CorruptData(
            f"chunk {name} has (bytes, rows, tokens) {found}, the manifest lists {listed}; fetch "
            "or write this chunk again"
        )
    return view


def missing_chunk(store: object, name: str, key: str) -> CorruptData:
    """The error for a chunk that is listed and not there."""
    return CorruptData(
        f"{store} lists the chunk {name}, but {key} is missing there; copy it back, or write the "
        "dataset again"
    )


def _map(store: NearStore, name: str) -> memoryview:
    key = chunk_key(name)
    try:
        content = store.map(key)
    except FileNotFoundError:
        raise missing_chunk(store, name, key) from None
    except OSError as error:
        raise StorageError(f"cannot read {store}/{key}: {error.strerror or error}") from error
    if not content:
        raise CorruptData(f"chunk {name}: {store}/{key} is empty")
    return content
