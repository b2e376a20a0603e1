"""From what a user writes as a dataset's place to the store that holds it."""

from __future__ import annotations

import os
from pathlib import Path

from millstream.errors import UnsupportedError, UsageError
from millstream.store.local import LocalStore


def open_place(place: str | os.PathLike[str]) -> LocalStore:
    """The store at a path, a file:// URL, or local:/path, which is a network drive.

    Raises UnsupportedError for other schemes.
    """
    text = os.fspath(place)
    if not isinstance(text, str) or not text:
        raise UsageError(f"a dataset's place is a path, got {place!r}")
    scheme, separator, rest = text.partition("://")
    if separator and scheme == "file":
        return LocalStore(Path(rest).expanduser().absolute())
    if separator:
        raise UnsupportedError(
            f"{scheme}:// is not supported by this version of millstream; give a local path"
        )
    far = text.startswith("local:")
    return LocalStore(Path(text.removeprefix("local:")).expanduser().absolute(), far=far)
