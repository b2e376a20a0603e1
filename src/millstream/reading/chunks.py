"""The chunks of a local dataset, mapped where they lie."""

from __future__ import annotations

from collections import OrderedDict

from millstream.errors import CorruptData, StorageError
from millstream.format import ChunkTable, ChunkView
from millstream.store import LocalStore
from millstream.store.local import map_file

# Mappings are cheap, but the kernel allows some 65,000 a process; a shuffled window reads a
# few dozen chunks at a time.
MAX_OPEN = 1_024


class MappedChunks:
    """Opens chunks by their number; keeps the most recently used ones open."""

    def __init__(self, store: LocalStore, table: ChunkTable, *, verify: bool) -> None:
        self._store, self._table, self._verify = store, table, verify
        self._open: OrderedDict[int, ChunkView] = OrderedDict()

    def view(self, chunk: int) -> ChunkView:
        """A chunk's rows; raises CorruptData if the file is not the one the manifest lists."""
        view = self._open.get(chunk)
        if view is None:
            view = self._open[chunk] = self._map(chunk)
            if len(self._open) > MAX_OPEN:
                self._open.popitem(last=False)
        else:
            self._open.move_to_end(chunk)
        return view

    def _map(self, chunk: int) -> ChunkView:
        name = self._table.name(chunk)
        content = _map(self._store, name)
        view = ChunkView(content, name, verify=self._verify)
        listed = int(self._table.sizes[chunk]), int(self._table.rows[chunk])
        found = len(content), view.layout.rows
        if found != listed:
            raise CorruptData(
                f"chunk {name} has (bytes, rows) {found}, the manifest lists {listed}; fetch or "
                "write this chunk again"
            )
        return view


def _map(store: LocalStore, name: str) -> memoryview:
    path = store.path(f"chunks/{name}")
    try:
        content = map_file(path)
    except FileNotFoundError:
        raise CorruptData(
            f"{store} lists the chunk {name}, but {path} is missing; copy it back, or write the "
            "dataset again"
        ) from None
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}") from error
    if not content:
        raise CorruptData(f"chunk {name}: {path} is empty")
    return content
