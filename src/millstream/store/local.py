"""A folder as a store."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from millstream.errors import StorageError
from millstream.store.protocol import ObjectInfo

BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class LocalStore:
    """Objects are files below `root`; they appear whole, under their name, or not at all."""

    root: Path

    def __str__(self) -> str:
        return str(self.root)

    def path(self, key: str) -> Path:
        """The file of a key."""
        return self.root / key

    def get(self, key: str, span: tuple[int, int] | None = None) -> bytes:
        """An object's bytes, or some of them; raises FileNotFoundError."""
        if span is None:
            return self.path(key).read_bytes()
        with self.path(key).open("rb", buffering=0) as file:
            return _read(file.fileno(), *span)

    def put(self, key: str, content: bytes) -> None:
        """Makes or replaces an object by renaming a complete, synced file."""
        temporary = self._write(key, content)
        temporary.replace(self.path(key))
        _sync_folder(self.path(key).parent)

    def put_if_absent(self, key: str, content: bytes) -> bool:
        """Makes an object by link(2) of a complete, synced file; False if there is one already.

        A rename would replace: of two writers both would believe that they had won.
        """
        temporary = self._write(key, content)
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
        """The files below `prefix`, a folder's key with its slash, or "" for all."""
        for folder, _, names in os.walk(self.path(prefix)):
            for name in names:
                path = Path(folder, name)
                with suppress(FileNotFoundError):  # gone meanwhile
                    state = path.stat()
                    yield ObjectInfo(
                        key=path.relative_to(self.root).as_posix(),
                        size=state.st_size,
                        modified=state.st_mtime,
                    )

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
        block = memoryview(bytearray(BLOCK_BYTES))
        with self.path(key).open("rb", buffering=0) as file:
            while count := file.readinto(block):
                yield block[:count]

    def _write(self, key: str, content: bytes) -> Path:
        folder = self.path(key).parent
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=".new-", dir=folder)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                # mkstemp files are private; what others may read is for the umask to say.
                os.chmod(name, 0o666 & ~_umask())  # noqa: PTH101
            except BaseException:
                with suppress(OSError):
                    os.unlink(name)  # noqa: PTH108
                raise
        return Path(name)


def _read(descriptor: int, start: int, stop: int) -> bytes:
    """The bytes of a file from start up to stop, or up to its end."""
    pieces = []
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
