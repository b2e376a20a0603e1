"""Files that are locked with flock, never through a descriptor that a forked child keeps.

A flock belongs to the open file description, which a fork shares: as long as the child has the
descriptor open, the lock outlives its owner. So each of these descriptors is closed in a child
before any code of its own runs.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from millstream.errors import MillstreamError, StorageError

try:
    import fcntl
except ImportError:  # Windows, where `Cache` refuses to start
    fcntl = None  # type: ignore[assignment]

SUPPORTED = fcntl is not None


class DiskFull(StorageError):
    """The disk, or what this user may take of it, has no room."""


@contextmanager
def cache_errors(path: Path) -> Iterator[None]:
    """Turns an OSError of a cache's own files into DiskFull or StorageError."""
    try:
        yield
    except MillstreamError:
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(f"{path}: {error.strerror}; make room, or lower the limit") from None
        raise StorageError(
            f"cannot use {path} as a cache: {error.strerror or error}; choose a folder on a local "
            "disk that can be written, with cache_dir="
        ) from error


class _Held:
    """The descriptors of this process. guard: held while one is opened or closed."""

    def __init__(self) -> None:
        self.guard = threading.RLock()
        self.descriptors: set[int] = set()


_held = _Held()


def _before_fork() -> None:
    _held.guard.acquire()


def _after_fork_in_parent() -> None:
    _held.guard.release()


def _after_fork_in_child() -> None:
    global _held
    inherited, _held = _held, _Held()
    for descriptor in inherited.descriptors:
        with suppress(OSError):
            os.close(descriptor)
    inherited.descriptors.clear()
    inherited.guard.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )


class LockedFile:
    """An open file, and the flock on it, until `close`. In a forked child it is closed.

    Never maps or duplicates its descriptor: a copy would keep the lock. Symbolic links are
    refused. Raises OSError.
    """

    def __init__(self, path: Path, flags: int = os.O_RDONLY) -> None:
        self._held, self._descriptor = _held, -1
        with self._held.guard:
            self._descriptor = os.open(path, flags | os.O_NOFOLLOW, 0o666)
            self._held.descriptors.add(self._descriptor)

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Frees the lock."""
        with self._held.guard:
            if self.is_open:
                self._held.descriptors.remove(self._descriptor)
                # Closing frees it too, but not while a program that is being started still has
                # a copy of the descriptor.
                with suppress(OSError):
                    fcntl.flock(self._descriptor, fcntl.LOCK_UN)
                os.close(self._descriptor)
            self._descriptor = -1

    @property
    def is_open(self) -> bool:
        """Whether this process still has the file open."""
        return self._descriptor in self._held.descriptors

    def share(self) -> None:
        """Takes the lock together with others who share it; waits for one who excludes."""
        fcntl.flock(self._descriptor, fcntl.LOCK_SH)

    def exclude(self) -> None:
        """Takes the lock alone; waits for all others."""
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def try_exclude(self) -> bool:
        """Takes the lock alone if nobody else has it."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def stat(self) -> os.stat_result:
        """What the file is."""
        return os.fstat(self._descriptor)

    def is_at(self, path: Path) -> bool:
        """Whether a path is, still, this very file."""
        try:
            return os.path.samestat(path.lstat(), self.stat())
        except FileNotFoundError:
            return False

    def touch(self) -> None:
        """Sets the time of its last use; a file of another user may not allow that."""
        with suppress(OSError):
            os.utime(self._descriptor)

    def allocate(self, size: int) -> None:
        """Gives a new file its size, and its place on the disk where the system can promise it."""
        os.ftruncate(self._descriptor, size)
        if hasattr(os, "posix_fallocate"):  # not on macOS
            try:
                os.posix_fallocate(self._descriptor, 0, size)
            except OSError as error:  # which some file systems cannot
                if error.errno == errno.ENOSPC:
                    raise

    def write(self, content: bytes | memoryview) -> None:
        """Writes all of it where the last write ended."""
        left = memoryview(content)
        while left:
            left = left[os.write(self._descriptor, left) :]


def lock_alone(path: Path) -> LockedFile:
    """A lock on a file of that path, which is made if it is missing; waits for its turn.

    The owner of the lock may remove the file, so whoever gets it looks whether it is still there.
    """
    while True:
        lock = LockedFile(path, os.O_RDONLY | os.O_CREAT)
        try:
            lock.exclude()
        except BaseException:
            lock.close()
            raise
        if lock.is_at(path):
            return lock
        lock.close()
