"""A folder as a store."""

from __future__ import annotations

import errno
import io
import mmap
import os
import secrets
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from millstream.errors import CorruptData, MillstreamError, StorageError
from millstream.store.keys import check_key
from millstream.store.listed import check_listed, tag_of
from millstream.store.protocol import Folder, ObjectInfo, Span

BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class LocalStore:
    """Objects are files below `root`; they appear whole, under their name, or not at all.

    That holds when a process is killed, and when the power goes: a file is on the disk before it
    has its name. temporary: where files lie until then; by default beside their name. far:
    whether they are to be read as if they lay elsewhere, through a cache: a network drive.
    """

    root: Path
    temporary: Path | None = None
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

    def map(self, key: str) -> memoryview:
        """An object's bytes where they lie; raises FileNotFoundError."""
        return map_file(self.path(key))

    def size(self, key: str) -> int:
        """An object's length in bytes; raises FileNotFoundError."""
        with self._open(key) as file:
            return os.fstat(file.fileno()).st_size

    def put(self, key: str, content: bytes) -> None:
        """Makes or replaces an object by renaming a complete file."""
        self._replace(key, [content])

    def put_file(self, key: str, path: str | os.PathLike[str]) -> None:
        """Makes or replaces an object by renaming a complete copy of a file."""
        with Path(path).open("rb", buffering=0) as file:
            self._replace(key, _blocks(file))

    def put_if_absent(self, key: str, content: bytes) -> bool:
        """Makes an object by link(2) of a complete file; False if there is one already.

        A rename would replace: of two writers both would believe that they had won.
        """
        path = self.path(key)
        with storage_errors(path):
            temporary = self._write(path, [content])
            try:
                os.link(temporary, path)
            except FileExistsError:
                return False
            finally:
                temporary.unlink()
            wait_for_disk(path.parent)
        return True

    def adopt(self, file: Path, key: str) -> None:
        """Moves a file that is on the disk, on the same file system, to a key.

        The name is sure to outlive a power cut only after `sync_names`.
        """
        target = self.path(key)
        with storage_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            file.replace(target)

    def link(self, file: Path, key: str, *, sync: bool = True) -> bool:
        """Gives a file that never changes a further name here; False where that cannot be.

        Then it lies on another file system, or on one without links. sync: whether the file is on
        the disk when this returns. Names as in `adopt`.
        """
        target = self.path(key)
        with storage_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary = (self.temporary or target.parent) / f".new-{secrets.token_hex(8)}"
            try:
                os.link(file, temporary)
            except OSError:
                return False
            if sync:  # whoever made it may not have waited for the disk
                wait_for_disk(temporary)
            temporary.replace(target)
        return True

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
                elif entry.is_file():
                    with suppress(FileNotFoundError):  # gone meanwhile
                        objects.append(_info(f"{prefix}{entry.name}", entry.stat()))
        return Folder(folders=sorted(folders), objects=sorted(objects, key=lambda info: info.key))

    def get_listed(self, listed: ObjectInfo, span: Span | None = None) -> bytes:
        """An object's bytes, or some of them, if it is still the one that was listed."""
        with self._open(listed.key) as file:
            found = _info(listed.key, os.fstat(file.fileno()))
            check_listed(self, listed, found.size, found.tag)
            return _read(file.fileno(), *(span or (0, found.size)))

    def delete(self, key: str) -> None:
        """Removes an object; there may be none."""
        with suppress(FileNotFoundError, NotADirectoryError):
            self.path(key).unlink()

    def copy(self, key: str, to: str) -> None:
        """Makes or replaces the object `to` from another."""
        with self._open(key):  # which says what is missing
            self.put_file(to, self.path(key))

    def check_conditional_put(self) -> None:
        """link(2) sees to it that one wins, on every file system that has it."""

    def sync_names(self, folder: str) -> None:
        """Waits until the names of the objects below `folder` are on the disk."""
        with storage_errors(self.path(folder)):
            wait_for_disk(self.path(folder))
            wait_for_disk(self.root)

    def _replace(self, key: str, pieces: Iterable[bytes | memoryview]) -> None:
        path = self.path(key)
        with storage_errors(path):
            temporary = self._write(path, pieces)
            temporary.replace(path)
            wait_for_disk(path.parent)

    def _open(self, key: str) -> io.FileIO:
        path = f"{self.root}/{check_key(key)}"  # in a quarter of the time that a Path takes
        try:
            return io.FileIO(path)
        except (IsADirectoryError, NotADirectoryError):
            # A folder is no object, and what lies below a file is none either.
            missing = errno.ENOENT
            raise FileNotFoundError(missing, os.strerror(missing), path) from None

    def _info(self, path: Path) -> ObjectInfo | None:
        try:
            state = path.stat()
        except FileNotFoundError:  # gone meanwhile, or a link that leads nowhere
            return None
        return _info(path.relative_to(self.root).as_posix(), state)

    def _write(self, path: Path, pieces: Iterable[bytes | memoryview]) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = (self.temporary or path.parent) / f".new-{secrets.token_hex(8)}"
        write_synced(temporary, pieces)
        return temporary


def write_synced(path: Path, pieces: Iterable[bytes | memoryview]) -> None:
    """Makes a file of these pieces; when this returns they are on the disk.

    When it raises (StorageError, if that is what the disk says) there is no file.
    """
    write_file(path, pieces, is_synced=True)


def write_file(
    path: Path, pieces: Iterable[bytes | memoryview], *, is_synced: bool = False
) -> None:
    """The same, but that a power cut may take it, unless it is synced."""
    with storage_errors(path):
        try:
            with path.open("wb") as file:
                file.writelines(pieces)
                if is_synced:
                    file.flush()
                    os.fsync(file.fileno())
        except BaseException:
            path.unlink(missing_ok=True)
            raise


def _info(key: str, state: os.stat_result) -> ObjectInfo:
    tag = tag_of(state.st_mtime_ns)
    return ObjectInfo(key=key, size=state.st_size, modified=state.st_mtime, tag=tag)


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
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if os.fstat(descriptor).st_size == 0:  # which cannot be mapped
            return memoryview(b"")
        return memoryview(mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ))
    finally:
        os.close(descriptor)


class storage_errors:  # noqa: N801 - reads as a clause: with storage_errors(path)
    """Turns an OSError of writing to a place into a StorageError that says what to do."""

    def __init__(self, place: Path) -> None:
        self._place = place

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError) and not isinstance(error, MillstreamError):
            raise StorageError(
                f"cannot write {self._place}: {error.strerror or error}; make room or mend the "
                "rights, and run the same call again: what is finished is kept"
            ) from error


def wait_for_disk(path: Path) -> None:
    """Waits until a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
