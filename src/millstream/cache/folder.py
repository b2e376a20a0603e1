"""The files of a cache, and who may change them.

    millstream-cache/CACHEDIR.TAG      tells backup programs, and people, what this is
    millstream-cache/budget            locked while names are made, changed or removed
    millstream-cache/fetching/<name>   locked by who fetches that file
    millstream-cache/partial/<name>    a file on its way; it has its full size from the start
    millstream-cache/files/<name>      a complete file

Names change under the lock of `budget` only, so whoever has that lock sees how much there is:
the sizes of partial and complete files. No number is kept on the disk; what a process has listed it
keeps for as long as it is true (`shelf.py`). A file in use, or on its way, has a shared lock on it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISDIR

from millstream.cache.locks import (
    DiskFull,
    LockedFile,
    cache_errors,
    lock_alone,
    try_lock_alone,
)
from millstream.cache.shelf import Shelf, is_foreign, ours, remove_unused
from millstream.errors import UsageError

FOLDER = "millstream-cache"
# The first line is that of the Cache Directory Tagging Specification.
TAG = """Signature: 8a477f597d28d172789f06886806bc55
# Copies of data that lies elsewhere, made by millstream and shared by all processes of this
# machine. Safe to delete at any time; programs that run read on, and fetch again what they need.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A complete file. last_used: seconds since 1970."""

    name: str
    bytes: int
    last_used: float
    in_use: bool


class Fetching:
    """The right to fetch a file, until `close`."""

    def __init__(self, path: Path, lock: LockedFile) -> None:
        self._path, self._lock = path, lock

    def close(self) -> None:
        """Lets others try."""
        if self._lock.is_open:
            with suppress(OSError):  # an empty file that is left does no harm
                self._path.unlink()
            self._lock.close()


class Folder:
    """The folder `millstream-cache` inside `root`, made if it is missing.

    Whatever else lies in `root`, or in the folder under names that are not ours, is left alone.
    Raises StorageError if it cannot be written, UsageError if it or a folder inside it is a
    symbolic link: what we would remove then might be somebody's data.
    """

    def __init__(self, root: Path) -> None:
        self.path = root / FOLDER
        self._files, self._partial, self._fetching = (
            self.path / name for name in ("files", "partial", "fetching")
        )
        self._shelf = Shelf(self._files)
        self._make()

    def _make(self) -> None:
        folders = (self.path, self._files, self._partial, self._fetching)
        if all(map(_is_real, folders)):
            return
        with cache_errors(self.path):
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            mode = self.path.stat().st_mode & 0o7777
            for folder in folders[1:]:
                with suppress(FileExistsError):
                    folder.mkdir()
                    folder.chmod(mode)  # a folder made for a group stays one, whatever the umask
            with suppress(FileExistsError), (self.path / "CACHEDIR.TAG").open("x") as file:
                file.write(TAG)
        for folder in folders:
            if not _is_real(folder):
                raise UsageError(
                    f"{folder} is a file or a symbolic link; a cache needs a real folder there"
                )

    def file(self, name: str) -> Path:
        """The path of a complete file."""
        return self._files / name

    def partial(self, name: str) -> Path:
        """The path of a file on its way."""
        return self._partial / name

    def is_free(self, name: str) -> bool:
        """Whether nothing foreign lies where files of this name would."""
        folders = (self._files, self._partial, self._fetching)
        return not any(is_foreign(folder / name) for folder in folders)

    # Locks ----------------------------------------------------------------------------------

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Alone among all processes, for moments: to look at the names, and to change them."""
        with cache_errors(self.path):
            self._make()  # somebody may have removed it all
            lock = lock_alone(self.path / "budget")
        try:
            yield
        finally:
            lock.close()

    def fetching(self, name: str, *, wait: bool) -> Fetching | None:
        """Alone among those who would fetch this file.

        wait: until others are done, or dead; else None if there is one.
        """
        path = self._fetching / name
        with cache_errors(path):
            self._make()
            lock = lock_alone(path) if wait else try_lock_alone(path)
        return None if lock is None else Fetching(path, lock)

    def excludes(self) -> bool:
        """Whether a lock taken through one descriptor is denied to another."""
        budget = self.path / "budget"
        with self.changing(), cache_errors(budget):
            other = LockedFile(budget)
            try:
                return not other.try_exclude()
            finally:
                other.close()

    # One file -------------------------------------------------------------------------------

    def open(self, path: Path) -> LockedFile | None:
        """A file, complete or on its way, locked against eviction; None if there is none.

        It may have been evicted before it was locked; then it is no longer at its path.
        """
        if is_foreign(path):
            return None
        with cache_errors(path):
            try:
                lock = LockedFile(path)
            except FileNotFoundError:
                return None
            lock.share()  # waits for moments, if somebody is about to evict this file
        return lock

    def reserve(self, name: str, size: int, limit: int) -> LockedFile | None:
        """A new partial file of that size, locked; None if it does not fit.

        Evicts what is not in use, the longest unused first, also if the disk is full before the
        budget is. Raises DiskFull if that does not help. To be called by who is `fetching` this
        name.
        """
        with self.changing():
            for path, _ in ours(self._partial):
                remove_unused(path)  # what killed processes have left
            # One that is left is a dead process's, and still looked at by who waited for it.
            self.partial(name).unlink(missing_ok=True)
            if not self._make_room(size, limit):
                return None
            while True:
                try:
                    return self._make_partial(self.partial(name), size)
                except DiskFull:
                    if not self._shelf.evict(size):
                        raise

    def _make_partial(self, path: Path, size: int) -> LockedFile:
        with cache_errors(path):
            lock = LockedFile(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
            try:
                lock.share()
                lock.allocate(size)
            except BaseException:
                path.unlink()
                lock.close()
                raise
        return lock

    def _make_room(self, size: int, limit: int) -> bool:
        partial = sum(stat.st_size for _, stat in ours(self._partial))
        lacking = size + partial + self._shelf.nbytes - limit
        if lacking > 0 and size + partial <= limit:
            self._shelf.evict(lacking)
            lacking = size + partial + self._shelf.nbytes - limit
        return lacking <= 0

    def publish(self, name: str) -> None:
        """Makes a partial file complete."""
        with self.changing(), cache_errors(self.path):
            self._shelf.add(self.partial(name))

    def give_up(self, name: str) -> None:
        """Removes a partial file."""
        with self.changing():
            self.partial(name).unlink(missing_ok=True)

    def remove(self, name: str, wanted: os.stat_result) -> None:
        """Removes a complete file, in use or not, if it is still that very one."""
        path = self.file(name)
        with self.changing(), suppress(FileNotFoundError):
            if os.path.samestat(path.lstat(), wanted):
                path.unlink()

    # All files ------------------------------------------------------------------------------

    def usage(self) -> int:
        """The bytes of all files, partial ones with their full size."""
        with self.changing():
            found = [*ours(self._partial), *ours(self._files)]
            return sum(stat.st_size for _, stat in found)

    def entries(self) -> list[Entry]:
        """The complete files, the longest unused first."""
        with self.changing():
            found = [_entry(path, stat, _is_in_use(path)) for path, stat in ours(self._files)]
        return sorted(found, key=lambda entry: (entry.last_used, entry.name))

    def clear(self) -> list[Entry]:
        """Removes all files that are not in use, and says which complete ones those were."""
        with self.changing():
            for path, _ in [*ours(self._partial), *ours(self._fetching)]:
                remove_unused(path)
            files = ours(self._files)
            return [_entry(path, stat, False) for path, stat in files if remove_unused(path)]


def _is_real(folder: Path) -> bool:
    """Whether a folder is there, and no link to one."""
    try:
        return S_ISDIR(folder.lstat().st_mode)
    except OSError:
        return False


def _entry(path: Path, stat: os.stat_result, in_use: bool) -> Entry:
    return Entry(name=path.name, bytes=stat.st_size, last_used=stat.st_mtime, in_use=in_use)


def _is_in_use(path: Path) -> bool:
    try:
        lock = LockedFile(path)
    except OSError:
        return False
    try:
        return not lock.try_exclude()
    finally:
        lock.close()
