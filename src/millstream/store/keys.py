"""What a key may look like, and what folders a list of keys makes."""

from __future__ import annotations

from collections.abc import Iterable

from millstream.errors import UsageError
from millstream.store.protocol import Folder, ObjectInfo


def check_key(key: str) -> str:
    """The key itself; raises UsageError if it could lead out of its store, or is none anywhere."""
    parts = key.split("/")
    if "" in parts or "." in parts or ".." in parts or min(key) < " ":
        raise UsageError(
            f"{key!r} cannot be a key: parts joined by single slashes, none of them '.' or '..', "
            "without control characters"
        )
    return key


def folder_of(prefix: str, objects: Iterable[ObjectInfo]) -> Folder:
    """What lies directly below a prefix, from all objects below it, sorted by key."""
    folders: dict[str, None] = {}
    direct = []
    for found in objects:
        name, deeper, _ = found.key.removeprefix(prefix).partition("/")
        if deeper:
            folders[name] = None
        else:
            direct.append(found)
    return Folder(folders=sorted(folders), objects=direct)
