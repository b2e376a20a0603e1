"""Where map() keeps the files of an input from when fn has returned until they have their names.

In a folder that all workers see: a folder each, which has its name once it is whole.

    segments/000000012/      what fn wrote for input 12

For workers on several machines and an output in a bucket: objects there, that are copied to their
names by the bucket itself.

    segments/00003/000000012/photo.jpg   what fn wrote for input 12, which is of task 3
    segments/00003/000000012             is there once all of it is
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from millstream.store import LocalStore, Store
from millstream.store.local import storage_errors
from millstream.writing.at_once import at_once
from millstream.writing.holdings import has_object
from millstream.writing.temporary import Temporary

# Files of a task that are put into their places at once.
AT_ONCE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """The files of one input, as names below the output with slashes, and their sizes."""

    index: int
    files: tuple[tuple[str, int], ...]

    @property
    def nbytes(self) -> int:
        """Of all files."""
        return sum(size for _, size in self.files)


class MadeFiles(Protocol):
    """What map's workers ask of that place. task: the number of the task that an input is of."""

    def private(self) -> AbstractContextManager[Path]:
        """A new folder for what fn writes, within this block."""

    def keep(self, task: int, index: int, private: Path) -> None:
        """Takes what is in that folder, whole."""

    def kept(self, task: int, indices: Sequence[int]) -> list[Made]:
        """What was kept of some inputs, and is not in its place yet."""

    def place(self, task: int, made: Sequence[Made]) -> None:
        """Gives files their names in the output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderMade:
    """In a folder. temporary: on the same file system."""

    store: Store
    folder: Path
    temporary: Path

    @contextmanager
    def private(self) -> Iterator[Path]:
        """A folder beside."""
        private = self.temporary / f"output-{secrets.token_hex(8)}"
        with storage_errors(private):
            private.mkdir()
        try:
            yield private
        finally:
            shutil.rmtree(private, ignore_errors=True)

    def keep(self, task: int, index: int, private: Path) -> None:
        """One rename."""
        target = self._folder(index)
        with storage_errors(private):
            try:
                private.rename(target)
            except OSError:
                # A worker that was taken for dead has been here: what that one made is whole too.
                if not target.is_dir():
                    raise

    def kept(self, task: int, indices: Sequence[int]) -> list[Made]:
        """The folders that are there."""
        there = [index for index in indices if self._folder(index).is_dir()]
        return [Made(index=index, files=tuple(files_in(self._folder(index)))) for index in there]

    def place(self, task: int, made: Sequence[Made]) -> None:
        """By links, where the output is a folder too."""
        # After a worker's death some of it may be in its place.
        left = [some for some in made if self._folder(some.index).is_dir()]
        files = [(self._folder(some.index) / name, name) for some in left for name, _ in some.files]
        at_once(self._place, files, AT_ONCE)
        for some in left:
            gone = self.temporary / f"gone-{secrets.token_hex(8)}"
            # In one step: what is half removed must not look whole.
            with storage_errors(gone), suppress(FileNotFoundError):
                self._folder(some.index).rename(gone)
            shutil.rmtree(gone, ignore_errors=True)

    def _place(self, file: tuple[Path, str]) -> None:
        path, name = file
        try:
            if not (isinstance(self.store, LocalStore) and self.store.link(path, name, sync=False)):
                self.store.put_file(name, path)
        except OSError:
            # Who takes it away has put it into its place: a worker that was taken for dead.
            if path.exists():
                raise

    def _folder(self, index: int) -> Path:
        return self.folder / f"{index:09}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketMade:
    """Objects below a prefix of the output, which ends with a slash."""

    store: Store
    prefix: str
    temporary: Temporary

    @contextmanager
    def private(self) -> Iterator[Path]:
        """A folder of whichever machine this is."""
        with self.temporary.open() as folder:
            private = folder / "output"
            with storage_errors(private):
                private.mkdir()
            yield private

    def keep(self, task: int, index: int, private: Path) -> None:
        """Uploads the files, and then the object that counts."""
        key = self._key(task, index)
        names = [name for name, _ in files_in(private)]
        at_once(lambda name: self.store.put_file(f"{key}/{name}", private / name), names, AT_ONCE)
        self.store.put(key, b"")

    def kept(self, task: int, indices: Sequence[int]) -> list[Made]:
        """From a listing of what there is of the task."""
        sizes = {info.key: info.size for info in self.store.list(f"{self.prefix}{task:05}/")}
        found = []
        for index in indices:
            key = self._key(task, index)
            if key in sizes:
                files = [
                    (k[len(key) + 1 :], n) for k, n in sizes.items() if k.startswith(f"{key}/")
                ]
                found.append(Made(index=index, files=tuple(sorted(files))))
        return found

    def place(self, task: int, made: Sequence[Made]) -> None:
        """By copies that the bucket makes."""
        left = {some.index for some in self.kept(task, [some.index for some in made])}
        files = [
            (self._key(task, some.index), name)
            for some in made
            if some.index in left
            for name, _ in some.files
        ]
        at_once(self._copy, files, AT_ONCE)
        at_once(self.store.delete, [self._key(task, index) for index in left], AT_ONCE)
        at_once(self.store.delete, [f"{key}/{name}" for key, name in files], AT_ONCE)

    def _copy(self, file: tuple[str, str]) -> None:
        key, name = file
        try:
            self.store.copy(f"{key}/{name}", name)
        except FileNotFoundError:
            # Who takes it away has put it into its place: a worker that was taken for dead.
            if has_object(self.store, key):
                raise

    def _key(self, task: int, index: int) -> str:
        return f"{self.prefix}{task:05}/{index:09}"


def files_in(folder: Path) -> Iterator[tuple[str, int]]:
    """The names of all files in a folder, with slashes, and their sizes."""
    for place, _, names in os.walk(folder):
        for name in sorted(names):
            path = Path(place, name)
            yield path.relative_to(folder).as_posix(), path.stat().st_size
