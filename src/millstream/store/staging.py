"""Whole objects for those who look at every byte, wherever they lie."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from millstream.store.local import LocalStore
from millstream.store.protocol import ReadableStore

BLOCK_BYTES = 8 << 20


def blocks(store: ReadableStore, key: str, size: int) -> Iterator[memoryview]:
    """An object's bytes, block by block, in little memory.

    A bad sector is an OSError here, where a mapping would kill the process.
    """
    for start in range(0, size, BLOCK_BYTES):
        yield memoryview(store.get(key, (start, min(start + BLOCK_BYTES, size))))


@contextmanager
def staged(store: ReadableStore, key: str) -> Iterator[LocalStore]:
    """An object as a file under its own key: the one that it is, or a copy for that long.

    Raises FileNotFoundError.
    """
    if isinstance(store, LocalStore):
        yield store
        return
    size = store.size(key)
    with TemporaryDirectory(prefix="millstream-") as folder:
        near = LocalStore(Path(folder))
        path = near.path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.writelines(blocks(store, key, size))
        yield near
