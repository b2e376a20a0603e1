"""Objects in the memory of this process, by name: for trying things, and for tests."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from xxhash import xxh3_64_hexdigest

from millstream.errors import CorruptData, NotPicklable, ObjectNotFound
from millstream.store.keys import check_key, folder_of
from millstream.store.listed import check_listed, tag_of
from millstream.store.protocol import Folder, ObjectInfo, Span

# What memory://name means: the same objects for all who open it in this process.
_OBJECTS: dict[str, tuple[bytes, float]] = {}
_LOCK = threading.Lock()


class MemoryStore:
    """The objects under a `memory://` URL; they live as long as the process."""

    def __init__(self, base: str) -> None:
        self._base = base

    def __str__(self) -> str:
        return self._base

    def __repr__(self) -> str:
        return f"MemoryStore({self._base!r})"

    def __reduce__(self) -> NoReturn:
        raise NotPicklable(
            f"{self}: objects in memory belong to one process, and workers are others; work with "
            "num_workers=0, or in a folder"
        )

    def get(self, key: str, span: Span | None = None) -> bytes:
        """An object's bytes, or some of them."""
        content = self._find(key)
        if span is None:
            return content
        start, stop = span
        if stop > len(content) and start < stop:
            raise CorruptData(
                f"{self}: {key} has {len(content)} bytes, {start} to {stop} were asked for"
            )
        return content[start:stop]

    def map(self, key: str) -> memoryview:
        """An object's bytes where they lie."""
        return memoryview(self._find(key))

    def size(self, key: str) -> int:
        """An object's length in bytes."""
        return len(self._find(key))

    def put(self, key: str, content: bytes) -> None:
        """Makes or replaces an object."""
        with _LOCK:
            _OBJECTS[self._name(key)] = bytes(content), time.time()

    def put_if_absent(self, key: str, content: bytes) -> bool:
        """Makes an object unless there is one."""
        with _LOCK:
            entry = bytes(content), time.time()
            return _OBJECTS.setdefault(self._name(key), entry) is entry

    def put_file(self, key: str, path: str | os.PathLike[str]) -> None:
        """Makes or replaces an object from a file; all of it is then in memory."""
        self.put(key, Path(path).read_bytes())

    def copy(self, key: str, to: str) -> None:
        """Makes or replaces the object `to` from another."""
        self.put(to, self._find(key))

    def delete(self, key: str) -> None:
        """Removes an object; there may be none."""
        with _LOCK:
            _OBJECTS.pop(self._name(key), None)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """The objects whose keys start with a prefix, sorted by key."""
        skip = len(self._base) + 1
        with _LOCK:
            found = sorted(
                (name[skip:], len(content), modified, _tag(content))
                for name, (content, modified) in _OBJECTS.items()
                if name.startswith(f"{self._base}/{prefix}")
            )
        return (ObjectInfo(key=k, size=n, modified=when, tag=tag) for k, n, when, tag in found)

    def folder(self, prefix: str) -> Folder:
        """What lies directly below a prefix."""
        return folder_of(prefix, self.list(prefix))

    def get_listed(self, listed: ObjectInfo, span: Span | None = None) -> bytes:
        """An object's bytes, or some of them, if it is still the one that was listed."""
        content = self._find(listed.key)
        check_listed(self, listed, len(content), _tag(content))
        return content[slice(*span)] if span else content

    def check_conditional_put(self) -> None:
        """A lock sees to it that one wins."""

    def _name(self, key: str) -> str:
        return f"{self._base}/{check_key(key)}"

    def _find(self, key: str) -> bytes:
        try:
            return _OBJECTS[self._name(key)][0]
        except KeyError:
            raise ObjectNotFound(f"{self}: there is no object {key}") from None


def _tag(content: bytes) -> str:
    return tag_of(xxh3_64_hexdigest(content))
