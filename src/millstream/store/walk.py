"""os.walk over any place, with many folders listed at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from millstream.errors import UsageError
from millstream.store.place import open_store, parse


def walk(
    place: str | os.PathLike[str],
    max_workers: int = 32,
    storage_options: Mapping[str, object] | None = None,
) -> Iterator[tuple[str, list[str], list[str]]]:
    """The folders below a path or a URL, from the top: (folder, names of folders, of files).

    As os.walk, but sorted, so that two walks give the same order, and with up to `max_workers`
    folders listed ahead at once, which is what network drives and buckets need. A name that is
    removed from the list of folders while the walk waits is not walked into. Links to folders are
    listed and not followed. A folder and a name joined by a slash are the path or URL of a file.

    Args:
        place: A path, or a URL of whatever can be listed: see docs/stores.md.
        max_workers: The most folders that are listed at once.
        storage_options: Credentials and endpoint for a URL, see docs/stores.md.

    Returns:
        An iterator, which lists as it goes.

    Raises:
        FileNotFoundError: A local path does not exist.
        UnsupportedError: The place cannot be listed.
        UsageError: max_workers is below 1.
        StorageError: The place does not answer, or denies access.
    """
    if max_workers < 1:
        raise UsageError(f"walk needs max_workers of 1 or more, got {max_workers}")
    return _walk(os.fspath(place), _lister(place, storage_options), max_workers)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Listed:
    """A folder's content. into: those of the folders that are walked into."""

    folders: list[str]
    files: list[str]
    into: frozenset[str]


_List = Callable[[str], _Listed]


def _walk(top: str, listed: _List, max_workers: int) -> Iterator[tuple[str, list[str], list[str]]]:
    with ThreadPoolExecutor(max_workers, thread_name_prefix="millstream-walk") as pool:
        waiting = [(top, "", pool.submit(listed, ""))]
        try:
            while waiting:
                path, inside, future = waiting.pop()
                found = future.result()
                ahead: dict[str, Future[_Listed]] = {
                    name: pool.submit(listed, f"{inside}{name}/")
                    for name in found.folders
                    if name in found.into
                }
                yield path, found.folders, found.files
                for name in reversed(found.folders):
                    if name in ahead:
                        below = f"{inside}{name}/"
                        waiting.append((f"{path.rstrip('/')}/{name}", below, ahead.pop(name)))
                for dropped in ahead.values():
                    dropped.cancel()
        finally:
            pool.shutdown(cancel_futures=True)


def _lister(place: str | os.PathLike[str], options: Mapping[str, object] | None) -> _List:
    """Lists a folder, given as "" or "a/b/"."""
    found = parse(place)
    if isinstance(found, Path):
        open_store(place, options)  # which refuses the options
        root = str(found)
        return lambda inside: _scan(os.path.join(root, inside))  # noqa: PTH118 - as os.walk does
    store = open_store(place, options)

    def listed(inside: str) -> _Listed:
        folder = store.folder(inside)
        names = [info.key.removeprefix(inside) for info in folder.objects]
        folders = list(folder.folders)
        return _Listed(folders=folders, files=names, into=frozenset(folders))

    return listed


def _scan(path: str) -> _Listed:
    with os.scandir(path) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    folders = [entry for entry in found if entry.is_dir()]
    return _Listed(
        folders=[entry.name for entry in folders],
        files=[entry.name for entry in found if not entry.is_dir()],
        into=frozenset(entry.name for entry in folders if not entry.is_symlink()),
    )
