"""The complete files of a cache: their sizes and last uses, listed only when they have changed."""

from __future__ import annotations

import heapq
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG

from millstream.cache.locks import LockedFile

NAME = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class _File:
    """used: nanoseconds since 1970."""

    size: int
    used: int


class Shelf:
    """What lies in a folder of complete files, to be asked by who alone may change names there.

    Listing thousands of files for each one that is fetched would take longer than fetching it. So
    what was listed is kept, with a mark: the folder's time of change, which is set to a moment in
    nanoseconds. Whoever else adds or removes a file, by hand even, leaves another time there. Where
    that cannot be set, in a folder of another user, each look lists.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._files: dict[str, _File] = {}
        self._bytes, self._mark = 0, -1

    @property
    def nbytes(self) -> int:
        """The bytes of all files."""
        self._look()
        return self._bytes

    def add(self, path: Path) -> None:
        """Moves a file here, under the name that it has."""
        with self._changing() as is_known:
            target = self.path / path.name
            path.rename(target)
            if is_known:
                self._forget(path.name)  # it may have had that name before
                self._note(path.name, target.lstat())

    def evict(self, nbytes: int) -> int:
        """Removes files that nobody uses until so many bytes are free: how many became that.

        The longest unused first, and no more than it has to.
        """
        self._look()
        freed = 0
        with self._changing():
            for name in self._longest_unused():
                if freed >= nbytes:
                    break
                if remove_unused(self.path / name):
                    freed += self._forget(name)
        return freed

    def _longest_unused(self) -> Iterator[str]:
        """The names in that order; a file may have been used since it was listed."""
        queue = [(file.used, name) for name, file in self._files.items()]
        heapq.heapify(queue)
        while queue:
            used, name = heapq.heappop(queue)
            try:
                now = (self.path / name).lstat().st_mtime_ns
            except FileNotFoundError:
                self._forget(name)
                continue
            if now > used:
                self._files[name] = _File(self._files[name].size, now)
                heapq.heappush(queue, (now, name))
            else:
                yield name

    def _look(self) -> None:
        if self._is_known():
            return
        self._files, self._bytes = {}, 0
        for path, stat in ours(self.path):
            self._note(path.name, stat)
        self._set_mark()

    def _note(self, name: str, stat: os.stat_result) -> None:
        self._files[name] = _File(stat.st_size, stat.st_mtime_ns)
        self._bytes += stat.st_size

    def _forget(self, name: str) -> int:
        file = self._files.pop(name, None)
        size = file.size if file else 0
        self._bytes -= size
        return size

    @contextmanager
    def _changing(self) -> Iterator[bool]:
        """A change of our own: what was known before it is known after it."""
        is_known = self._is_known()
        self._mark = -1
        yield is_known
        if is_known:
            self._set_mark()

    def _is_known(self) -> bool:
        return self._mark >= 0 and self.path.stat().st_mtime_ns == self._mark

    def _set_mark(self) -> None:
        # The kernel's own times are too coarse: two changes in a row may leave the same.
        wanted = time.time_ns()
        try:
            os.utime(self.path, ns=(wanted, wanted))
            found = self.path.stat().st_mtime_ns
        except OSError:
            found = -1
        self._mark = wanted if found == wanted else -1


def ours(folder: Path) -> list[tuple[Path, os.stat_result]]:
    """The files in a folder that we may have made: regular ones with names like ours."""
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):
                if NAME.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                    found.append((folder / entry.name, entry.stat(follow_symlinks=False)))
    return found


def is_foreign(path: Path) -> bool:
    """Whether something that is no regular file lies there: none of ours."""
    try:
        return not S_ISREG(path.lstat().st_mode)
    except FileNotFoundError:
        return False


def remove_unused(path: Path) -> bool:
    """Removes a file unless somebody has a lock on it."""
    try:
        lock = LockedFile(path)
    except OSError:  # gone, or another user's
        return False
    try:
        unused = lock.try_exclude() and lock.is_at(path)
        if unused:
            path.unlink()
        return unused
    except OSError:
        return False
    finally:
        lock.close()
