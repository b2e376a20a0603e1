"""Lists all files of a place, with many folders at once, in the order of their keys."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

from millstream.errors import MillstreamError, StorageError
from millstream.reading.raw.files import Files
from millstream.store import Folder, ObjectInfo

FOLDERS_AT_ONCE = 32


class Foldered(Protocol):
    """A place with folders."""

    def folder(self, prefix: str) -> Folder:
        """What lies directly below a prefix."""


def list_files(store: Foldered) -> Files:
    """The files of a place, sorted by key, byte by byte: the same wherever it is listed.

    Left out are files and folders whose names begin with a dot, and the empty objects that stand
    for folders. Raises StorageError, and what the store raises.
    """
    with ThreadPoolExecutor(FOLDERS_AT_ONCE, thread_name_prefix="millstream-list") as pool:
        try:
            return Files.joined(list(_parts(_Scan(store, pool).begin(""))))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


@dataclass(frozen=True, slots=True)
class _Scanned:
    """A folder: its files, and for each folder in it how many of them come before that."""

    files: Files
    before: list[int]
    folders: list[Future[_Scanned]]


@dataclass(frozen=True, slots=True)
class _Scan:
    """Each folder is a task, which begins those of the folders in it."""

    store: Foldered
    pool: ThreadPoolExecutor

    def begin(self, prefix: str) -> Future[_Scanned]:
        return self.pool.submit(self._scan, prefix)

    def _scan(self, prefix: str) -> _Scanned:
        try:
            found = self.store.folder(prefix)
        except MillstreamError:
            raise
        except OSError as error:
            raise StorageError(
                f"cannot list {self.store}/{prefix}: {error.strerror or error}"
            ) from error
        folders = sorted(f"{name}/" for name in found.folders if not name.startswith("."))
        files = [info for info in found.objects if is_file(info, prefix, folders)]
        names = [info.key[len(prefix) :] for info in files]
        return _Scanned(
            files=Files.of(files),
            before=[bisect_left(names, folder) for folder in folders],
            folders=[self.begin(prefix + folder) for folder in folders],
        )


def is_file(info: ObjectInfo, prefix: str, folders: list[str]) -> bool:
    """Whether an object of a folder is a file to read. folders: those in it, with a slash."""
    name = info.key[len(prefix) :]
    if not info.key.startswith(prefix) or not name or name.startswith(".") or name.endswith("/"):
        return False
    return bool(info.size) or f"{name}/" not in folders


def _parts(top: Future[_Scanned]) -> Iterator[Files]:
    """The files below a folder, in stretches: a folder's own lie around those of the folders in it.

    `a-b` comes before `a/c`, and that before `a0`.
    """
    waiting: list[Files | Future[_Scanned]] = [top]
    while waiting:
        part = waiting.pop()
        if isinstance(part, Files):
            yield part
            continue
        scanned = part.result()
        borders = [0, *scanned.before, len(scanned.files)]
        stretches = [scanned.files.part(start, stop) for start, stop in pairwise(borders)]
        inside: list[Files | Future[_Scanned]] = [stretches[0]]
        for folder, stretch in zip(scanned.folders, stretches[1:], strict=True):
            inside += [folder, stretch]
        waiting += reversed(inside)
