"""A folder as a store."""

from __future__ import annotations

import errno
import io
import mmap
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from millstream.errors import CorruptData, StorageError
from millstream.store.keys import check_key
from millstream.store.protocol import Folder, ObjectInfo, Span

BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class LocalStore:
    """Objects are files below `root`; they appear whole, under their name, or not at all.

    far: whether they are to be read as if they lay elsewhere, through a cache: a network drive.
    """

    root: Path
    far: bool = False

    def __str__(self) -> str:
        return f"local:{self.root}" if self.far else str(self.root)

    def path(self, key: str) -> Path:
        """The file of a key; raises UsageError for one that leads out of the folder."""
        return self.root / check_key(key)

    def get(self, key: str, span: Span | None = None) -> bytes:
        """An object's bytes, or some of them; raises FileNotFoundError."""
        start, stop = span or (0, sys.maxsize)
        with self._open(key) as file:
            content = _read(file.fileno(), start, stop)
        if span and len(content) < stop - start:
            raise CorruptData(
                f"{self.path(key)} ends too early: bytes {start} to {stop} were asked for, only "
                f"{len(content)} of them are there; write or copy this file again"
            )
        return content

    def size(self, key: str) -> int:
        """An object's length in bytes; raises FileNotFoundError."""
        with self._open(key) as file:
            return os.fstat(file.fileno()).st_size

    def put(self, key: str, content: bytes) -> None:
        """Makes or replaces an object by renaming a complete, synced file."""
        temporary = self._write(key, [content])
        temporary.replace(self.path(key))
        _sync_folder(self.path(key).parent)

    def put_if_absent(self, key: str, content: bytes) -> bool:
        """Makes an object by link(2) of a complete, synced file; False if there is one already.

        A rename would replace: of two writers both would believe that they had won.
        """
        temporary = self._write(key, [content])
        try:
            os.link(temporary, self.path(key))
        except FileExistsError:
            return False
        finally:
            temporary.unlink()
        _sync_folder(self.path(key).parent)
        return True

    def adopt(self, file: Path, key: str) -> None:
        """Moves a complete file of the same file system to a key."""
        target = self.path(key)
        with storage_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            file.replace(target)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """The files below `prefix`, a folder's key with its slash, or "" for all, sorted."""
        paths = (
            Path(folder, name) for folder, _, names in os.walk(self.root / prefix) for name in names
        )
        found = [info for path in paths if (info := self._info(path)) is not None]
        return iter(sorted(found, key=lambda info: info.key))

    def folder(self, prefix: str) -> Folder:
        """The files and folders directly below `prefix`; links to folders are not followed."""
        folders, objects = [], []
        with suppress(FileNotFoundError), os.scandir(self.root / prefix) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.name)
                elif entry.is_file() and (info := self._info(Path(entry.path))) is not None:
                    objects.append(info)
        return Folder(folders=sorted(folders), objects=sorted(objects, key=lambda info: info.key))

    def delete(self, key: str) -> None:
        """Removes an object; there may be none."""
        self.path(key).unlink(missing_ok=True)

    def rename(self, key: str, other: str) -> None:
        """Gives an object another key."""
        self.path(key).rename(self.path(other))

    def blocks(self, key: str) -> Iterator[memoryview]:
        """An object's bytes, block by block, each good until the next is asked for.

        A bad sector is an OSError here, where a mapping would kill the process.
        """
        with self._open(key) as file:
            yield from _blocks(file)

    def put_file(self, key: str, path: str | os.PathLike[str]) -> None:
        """Makes or replaces an object by renaming a complete, synced copy of a file."""
        with Path(path).open("rb", buffering=0) as file:
            temporary = self._write(key, _blocks(file))
        temporary.replace(self.path(key))
        _sync_folder(self.path(key).parent)

    def copy(self, key: str, to: str) -> None:
        """Makes or replaces the object `to` from another."""
        with self._open(key):  # which says what is missing
            self.put_file(to, self.path(key))

    def check_conditional_put(self) -> None:
        """link(2) sees to it that one wins, on every file system that has it."""

    def _open(self, key: str) -> io.FileIO:
        path = self.path(key)
        try:
            return path.open("rb", buffering=0)
        except (IsADirectoryError, NotADirectoryError):
            # A folder is no object, and what lies below a file is none either.
            missing = errno.ENOENT
            raise FileNotFoundError(missing, os.strerror(missing), str(path)) from None

    def _info(self, path: Path) -> ObjectInfo | None:
        try:
            state = path.stat()
        except FileNotFoundError:  # gone meanwhile, or a link that leads nowhere
            return None
        key = path.relative_to(self.root).as_posix()
        return ObjectInfo(key=key, size=state.st_size, modified=state.st_mtime)

    def _write(self, key: str, pieces: Iterable[bytes | memoryview]) -> Path:
        folder = self.path(key).parent
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=".new-", dir=folder)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.writelines(pieces)
                    file.flush()
                    os.fsync(file.fileno())
                # mkstemp files are private; what others may read is for the umask to say.
                os.chmod(name, 0o666 & ~_umask())  # noqa: PTH101
            except BaseException:
                with suppress(OSError):
                    os.unlink(name)  # noqa: PTH108
                raise
        return Path(name)


def _blocks(file: io.FileIO) -> Iterator[memoryview]:
    """A file's bytes, block by block, each good until the next is asked for."""
    block = memoryview(bytearray(BLOCK_BYTES))
    while count := file.readinto(block):
        yield block[:count]


def _read(descriptor: int, start: int, stop: int) -> bytes:
    """The bytes of a file from start up to stop, or up to its end."""
    pieces = []
    size = os.fstat(descriptor).st_size
    stop = min(stop, size)
    # One pread gives at most 2 GiB.
    while start < stop and (piece := os.pread(descriptor, stop - start, start)):
        pieces.append(piece)
        start += len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def map_file(path: Path) -> memoryview:
    """A file's bytes, mapped read-only; the mapping lives as long as views of it do."""
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size == 0:  # which cannot be mapped
            return memoryview(b"")
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


class storage_errors:  # noqa: N801 - reads as a clause: with storage_errors(path)
    """Turns an OSError of writing to a place into a StorageError that says what to do."""

    def __init__(self, place: Path) -> None:
        self._place = place

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError) and not isinstance(error, StorageError):
            raise StorageError(
                f"cannot write {self._place}: {error.strerror or error}; make room or mend the "
                "rights, and run the same call again: what is finished is kept"
            ) from error


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
