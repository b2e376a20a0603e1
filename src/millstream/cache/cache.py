"""Files by name, fetched once a machine, mapped by all, within one budget of bytes.

A name stands for the same bytes for ever: it is the digest of a chunk. To get a file, a process

1. opens it, with a shared lock. If it is there, that is all.
2. If not, it takes the lock of `fetching/<name>` alone. Of several processes one goes on; the
   others wait in the kernel, and look again when it is done. If it is killed, the next takes over.
3. It reserves the bytes: alone in the folder, for moments, it evicts as much as it has to and
   makes a partial file of the full size. If that does not fit it is told so, at once. Nobody ever
   waits for room; what does not fit is for the caller to read in another way.
4. It writes the bytes, compares length and digest, and renames the file. The shared lock that the
   file has had since it was made is the lock of its first user. Who is told which bytes are there
   may read these before the rest has come.

An evictor removes only files whose lock it gets at once, so that files in use stay, and the folder
tells the truth about the disk. A file that is removed all the same (`discard`, or by hand) reads
on where it is mapped. All locks end with the processes that hold them.

Files are not synced, which would take a third of the speed. After a power cut one may hold other
bytes than its name says; checksums find that when it is read, unless they are switched off.

The budget is what a process was given with `limit`. Where several are given different ones, each
makes room for itself within its own.

The folder is private to its user. To share one among users, make `millstream-cache` beforehand
with a group that may write to it; they then trust one another with what they read.
"""

from __future__ import annotations

import mmap
import os
import sys
import warnings
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from blake3 import blake3

from millstream.cache.folder import FOLDER, Entry, Fetching, Folder
from millstream.cache.locks import SUPPORTED, DiskFull, LockedFile, cache_errors
from millstream.cache.shelf import NAME
from millstream.errors import CorruptData, StorageError, UnsupportedError, UsageError

# Gives the bytes of an object in order, in pieces; called once, consumed as they are written.
Fetch = Callable[[], Iterable[bytes | memoryview]]


def default_root() -> Path:
    """Where the cache of this user lies unless it is told otherwise."""
    caches = ("Library", "Caches") if sys.platform == "darwin" else (".cache",)
    return Path.home().joinpath(*caches, "millstream")


class Lease:
    """A complete file, mapped; it is not evicted before `close`.

    content: its bytes, read-only. They can be read even after `close`, as long as somebody has a
    view of them; only the place on the disk is then no longer accounted for.
    """

    def __init__(self, name: str, content: memoryview, lock: LockedFile) -> None:
        self.name, self.content = name, content
        self._lock, self._stat = lock, lock.stat()

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets the file be evicted, the most recently used last."""
        if self._lock.is_open:
            self._lock.touch()
            self._lock.close()

    def is_intact(self) -> bool:
        """Whether the bytes still have the digest that is their name."""
        return blake3(self.content).hexdigest() == self.name


class Busy(StorageError):
    """Another process is fetching this file."""


class Filling:
    """A file on its way: bytes are written to it in any order, by any thread; then it is finished.

    Whoever has one calls `give_up` at last, which does nothing to a file that was finished.
    """

    def __init__(
        self, folder: Folder, name: str, size: int, lock: LockedFile, fetching: Fetching
    ) -> None:
        self.name, self.size = name, size
        self._folder, self._lock, self._fetching = folder, lock, fetching
        self._done = False

    def write(self, start: int, content: bytes | memoryview) -> None:
        """Writes bytes from `start` on; CorruptData for those beyond the file's end."""
        if start + len(content) > self.size:
            raise _wrong_size(self.name, self.size, f"{start + len(content)} or more")
        with cache_errors(self._folder.partial(self.name)):
            self._lock.write_at(start, content)

    def finish(self, written: int, *, verify: bool) -> Lease | None:
        """Gives the file its name; None if somebody has removed it meanwhile.

        written: how many bytes that was. Raises CorruptData unless these are all, and have the
        digest that is to be the name, if it is to be verified.
        """
        if written != self.size:
            raise _wrong_size(self.name, self.size, f"{written}")
        content = _map(self._folder.partial(self.name), self._lock)
        if content is not None and verify and (found := blake3(content).hexdigest()) != self.name:
            raise CorruptData(
                f"chunk {self.name}: the bytes that arrived have the digest {found}, not the one "
                "that is its name; write or copy this chunk again"
            )
        if content is not None:
            self._folder.publish(self.name)
        self._done = content is not None
        self.give_up()
        return None if content is None else Lease(self.name, content, self._lock)

    def give_up(self) -> None:
        """Removes the file, unless it was finished."""
        if not self._done and self._lock.is_open:
            self._folder.give_up(self.name)
            self._lock.close()
        self._fetching.close()


class Cache:
    """The cache inside the folder `root`, kept at `limit` bytes or less.

    Raises UnsupportedError without POSIX file locks, StorageError for a folder that cannot be
    written or in which locks do not exclude, UsageError for a limit or a folder that makes no
    sense.
    """

    def __init__(self, root: Path, limit: int) -> None:
        if not SUPPORTED:
            raise UnsupportedError("the cache needs POSIX file locks: Linux or macOS")
        if limit < 0:
            raise UsageError(f"a cache of at most {limit} bytes; expected 0 or more")
        self.root, self.limit = root, limit
        self._folder = Folder(root)
        self._warned = False
        if not self._folder.excludes():
            raise StorageError(
                f"{self.path}: file locks exclude nobody there, as on some network drives; choose "
                "a folder on a local disk with cache_dir="
            )

    def lease(self, name: str, size: int, fetch: Fetch, *, verify: bool = True) -> Lease | None:
        """The file `name` of `size` bytes, fetched if it is missing; None if it does not fit.

        verify: whether what was fetched must have the BLAKE3 digest `name`. Raises CorruptData if
        it has not, or another length, and whatever `fetch` raises; nothing is kept then.
        """
        begun = self.begin(name, size)
        if not isinstance(begun, Filling):
            return begun
        try:
            at = 0
            for piece in fetch():
                begun.write(at, piece)
                at += len(piece)
            return begun.finish(at, verify=verify)
        except DiskFull as error:
            self._warn_full(error)
            return None
        finally:
            begun.give_up()

    def begin(self, name: str, size: int, *, wait: bool = True) -> Filling | Lease | None:
        """The file if it is there, or else its place, for who is to fill it; None without room.

        wait: whether to wait while another fetches it; else Busy is raised.
        """
        _check(name, size)
        lease = self.find(name, size)
        if lease is not None or size > self.limit or not self._folder.is_free(name):
            return lease
        fetching = self._folder.fetching(name, wait=wait)
        if fetching is None:
            raise Busy(f"chunk {name} is being fetched by another process")
        try:
            lease = self.find(name, size)
            lock = None if lease else self._folder.reserve(name, size, self.limit)
            if lock is not None:
                filling = Filling(self._folder, name, size, lock, fetching)
                fetching = None
                return filling
            return lease
        except DiskFull as error:
            self._warn_full(error)
            return None
        finally:
            if fetching is not None:
                fetching.close()

    def arriving(self, name: str, size: int) -> Lease | None:
        """The file if it is there or on its way; None if it is neither.

        Of one on its way only bytes that are known to have been written may be read. It is the
        same file when it is complete; `is_current` says whether it was given up meanwhile.
        """
        lock = self._folder.open(self._folder.partial(name))
        if lock is not None:
            if (content := _map(self._folder.partial(name), lock)) is not None:
                return Lease(name, content, lock)
            lock.close()
        return self.find(name, size)

    def is_current(self, lease: Lease) -> bool:
        """Whether a file is still the one under its name, complete or on its way."""
        for path in (self._folder.partial(lease.name), self._folder.file(lease.name)):
            with suppress(FileNotFoundError):
                if os.path.samestat(path.lstat(), lease._stat):
                    return True
        return False

    def find(self, name: str, size: int) -> Lease | None:
        """The file if it is there."""
        _check(name, size)
        while (lock := self._folder.open(self._folder.file(name))) is not None:
            if lock.stat().st_size != size:  # cut by somebody, or by a disk that lost power
                self._folder.remove(name, lock.stat())
                lock.close()
                return None
            lock.touch()
            if (content := _map(self._folder.file(name), lock)) is not None:
                return Lease(name, content, lock)
            lock.close()
        return None

    def discard(self, lease: Lease) -> None:
        """Removes a file that turned out bad, so that who asks next fetches it anew."""
        self._folder.remove(lease.name, lease._stat)

    def usage(self) -> int:
        """The bytes of all files, those on their way included with their full size."""
        return self._folder.usage()

    def entries(self) -> list[Entry]:
        """The complete files, the longest unused first."""
        return self._folder.entries()

    def clear(self) -> list[Entry]:
        """Removes all files that are not in use, and returns them."""
        return self._folder.clear()

    @property
    def path(self) -> Path:
        """The folder that holds the files."""
        return self._folder.path

    @staticmethod
    def place(root: Path) -> Path:
        """The folder that a cache inside `root` has, or would have."""
        return root / FOLDER

    def _warn_full(self, error: DiskFull) -> None:
        if not self._warned:
            self._warned = True
            message = f"{error}; what the cache cannot take is read without it"
            warnings.warn(message, RuntimeWarning, stacklevel=3)


def _check(name: str, size: int) -> None:
    if not NAME.fullmatch(name) or size < 1:
        raise UsageError(f"cannot cache {name!r} of {size} bytes: 64 hex digits, 1 byte or more")


def _wrong_size(name: str, size: int, found: str) -> CorruptData:
    return CorruptData(
        f"chunk {name}: expected {size} bytes, {found} arrived; write or copy this chunk again"
    )


def _map(path: Path, lock: LockedFile) -> memoryview | None:
    """The bytes of a locked file; None if it is no longer there.

    Through a descriptor of its own: a mapping keeps a copy of its descriptor, which would keep
    the lock for as long as anybody looks at the bytes, and in forked children.
    """
    try:
        with path.open("rb") as file:
            if not os.path.samestat(os.fstat(file.fileno()), lock.stat()):
                return None
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except FileNotFoundError:
        return None
