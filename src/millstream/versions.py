"""Which versions of a dataset there are, and the manifest of one: for readers and for writers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from millstream.errors import CorruptData, DatasetNotFound
from millstream.format import Manifest, Tombstone, read_version, version_digest
from millstream.format.keys import LATEST, version_key


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Version:
    """A loaded version. digest: BLAKE3 of its manifest, in hex; it names the version for ever."""

    manifest: Manifest
    digest: str


class Wholes(Protocol):
    """Where versions lie."""

    def get(self, key: str, /) -> bytes:
        """An object's bytes; raises FileNotFoundError."""


# What lies in the place of a version; None: nothing does.
Past = Version | Tombstone | CorruptData | None


def load_version(store: Wholes, number: int | None = None) -> Version:
    """A version by its number, or the newest; raises DatasetNotFound or CorruptData.

    The newest is found without listing: from the hint `latest`, or from 1, upwards as long as
    there is a next one.
    """
    if number is None:
        number, content = _newest(store)
    else:
        content = _content(store, number)
    if content is None:
        raise DatasetNotFound(_not_found(store, number))
    return _loaded(store, number, content)


def newest_version(store: Wholes) -> Version | None:
    """The newest version; None where there is none yet. Raises CorruptData."""
    number, content = _newest(store)
    return None if content is None else _loaded(store, number, content)


def _newest(store: Wholes) -> tuple[int, bytes | None]:
    content, number = None, _hint(store)
    while (later := _content(store, number + 1)) is not None:
        content, number = later, number + 1
    return number, content or _content(store, number)


def _loaded(store: Wholes, number: int, content: bytes) -> Version:
    match _parsed(content, number):
        case Version() as version:
            return version
        case Tombstone():
            raise DatasetNotFound(
                f"{store}: version {number} was pruned, and its rows are gone unless a later "
                "version has them; leave the version out to read the newest"
            )
        case CorruptData() as error:
            raise CorruptData(
                f"{store}, version {number}: {error}; see what `millstream repair` can do"
            )


def history(store: Wholes, newest: int) -> Iterator[tuple[int, Past]]:
    """What lies in the places of all versions up to a number, the newest first."""
    for number in range(newest, 0, -1):
        content = _content(store, number)
        yield number, None if content is None else _parsed(content, number)


def _parsed(content: bytes, number: int) -> Version | Tombstone | CorruptData:
    try:
        found = read_version(content, number)
    except CorruptData as error:
        return error
    if isinstance(found, Tombstone):
        return found
    return Version(manifest=found, digest=version_digest(content))


def _content(store: Wholes, number: int) -> bytes | None:
    try:
        return store.get(version_key(number))
    except (FileNotFoundError, NotADirectoryError):
        return None


def _hint(store: Wholes) -> int:
    """A version that is or was the newest, at least 1. A hint that is lost or wrong only costs."""
    try:
        text = store.get(LATEST).decode("ascii", "replace").strip()
    except (FileNotFoundError, NotADirectoryError):
        return 1
    hinted = int(text) if text.isdigit() and len(text) <= 12 else 1
    return hinted if hinted > 0 and _content(store, hinted) is not None else 1


def _not_found(store: Wholes, number: int) -> str:
    if number > 1:
        return f"{store} has no version {number}"
    return (
        f"{store} holds no finished millstream dataset. Check the path; if optimize() was stopped "
        "before its end, run the same call again: it goes on"
    )
