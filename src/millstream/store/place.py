"""From what a user writes as a dataset's place to the store that holds it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from millstream.errors import UnsupportedError, UsageError
from millstream.store.local import LocalStore
from millstream.store.memory import MemoryStore
from millstream.store.protocol import NearStore, Store

# How a scheme is spelled: what it is.
SCHEMES = {
    "s3": "s3",
    "s3a": "s3",
    "r2": "r2",
    "gs": "gs",
    "gcs": "gs",
    "azure": "azure",
    "az": "azure",
    "http": "http",
    "https": "http",
    "hf": "hf",
    "memory": "memory",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """A parsed URL. base: what goes before the keys; shown as text, it has no secrets.

    bucket: or container, host, repository. prefix: "" or "a/b". query: of a presigned URL.
    login: `user:password` of an http URL.
    """

    service: str
    base: str
    bucket: str
    prefix: str
    query: str = field(default="", repr=False)
    login: str = field(default="", repr=False)

    def __str__(self) -> str:
        return self.base


def parse(place: str | os.PathLike[str]) -> Path | Remote:
    """A local path, or where else it is; raises UsageError for what is neither."""
    text = os.fspath(place)
    if not isinstance(text, str) or not text:
        raise UsageError(f"a place is a path or a URL, got {place!r}")
    scheme, separator, rest = text.partition("://")
    if separator and scheme == "file":
        return Path(rest).expanduser().absolute()
    if text.startswith("local:"):
        return Path(text.removeprefix("local:")).expanduser().absolute()
    if not separator:
        return Path(text).expanduser().absolute()
    if scheme not in SCHEMES:
        known = ", ".join(f"{name}://" for name in [*SCHEMES, "file"])
        raise UsageError(f"{scheme}:// is not known; give a path, or one of {known}, local:/path")
    return _http(text) if SCHEMES[scheme] == "http" else _bucket(SCHEMES[scheme], scheme, rest)


def service_of(place: str | os.PathLike[str]) -> str | None:
    """Whose storage_options a place takes: "s3", "gs", ...; None for a path and for memory."""
    found = parse(place)
    return None if isinstance(found, Path) or found.service == "memory" else found.service


def open_store(
    place: str | os.PathLike[str], storage_options: Mapping[str, object] | None = None
) -> Store:
    """The store at a path or a URL; no request is made yet.

    What a place cannot do (a web server can neither list nor write) raises UnsupportedError when
    it is asked for.

    Args:
        place: A path or a URL, see docs/stores.md.
        storage_options: Credentials and endpoint for a URL.

    Raises:
        UsageError: It is neither, or its service does not know an option.
        UnsupportedError: The package is missing that the service needs.
    """
    found = parse(place)
    if isinstance(found, Path) or found.service == "memory":
        if any(value is not None for value in (storage_options or {}).values()):
            raise UsageError(f"storage_options have no meaning for {place}; leave them out")
        return open_place(place) if isinstance(found, Path) else MemoryStore(found.base)
    try:
        from millstream.store.cloud import open_remote
    except ModuleNotFoundError as error:
        if error.name != "obstore":
            raise
        raise UnsupportedError(
            f"{found} needs the package obstore: pip install 'millstream[cloud]'"
        ) from None
    return open_remote(found, storage_options)


def near(store: Store) -> NearStore | None:
    """The store if its objects are read where they lie."""
    if isinstance(store, LocalStore):
        return None if store.far else store
    return store if isinstance(store, MemoryStore) else None


def open_place(place: str | os.PathLike[str]) -> LocalStore:
    """The store at a path, a file:// URL, or local:/path, which is a network drive.

    Raises UnsupportedError for other schemes.
    """
    found = parse(place)
    if isinstance(found, Path):
        return LocalStore(found, far=os.fspath(place).startswith("local:"))
    raise UnsupportedError(f"{found} cannot be used here by this version; give a local path")


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedBucket:
    """Two places below one bucket. place: the bucket's URL; one, other: of them, "" or "a/b/"."""

    place: str
    one: str
    other: str


def shared_bucket(
    one: str | os.PathLike[str], other: str | os.PathLike[str]
) -> SharedBucket | None:
    """The bucket where both places lie; None if there is none, or nothing can be written there."""
    first, second = parse(one), parse(other)
    if not isinstance(first, Remote) or not isinstance(second, Remote):
        return None
    if (first.service, first.bucket) != (second.service, second.bucket):
        return None
    if first.service in {"http", "hf"}:
        return None
    prefixes = [f"{remote.prefix}/" if remote.prefix else "" for remote in (first, second)]
    return SharedBucket(
        place=f"{first.service}://{first.bucket}", one=prefixes[0], other=prefixes[1]
    )


def _bucket(service: str, scheme: str, rest: str) -> Remote:
    name, _, path = rest.partition("/")
    prefix = _prefix(path, f"{scheme}://{rest}")
    if service == "hf":
        return _hub(rest)
    if not name:
        raise UsageError(f"{scheme}:// lacks the bucket: write {scheme}://BUCKET/PATH")
    if "@" in name:
        raise UsageError(
            f"{scheme}://...@{name.rpartition('@')[2]}: credentials do not belong into a URL; "
            "give them as storage_options"
        )
    return Remote(
        service=service,
        base=f"{scheme}://{name}" + (f"/{prefix}" if prefix else ""),
        bucket=name,
        prefix=prefix,
    )


def _hub(rest: str) -> Remote:
    parts = [part for part in rest.split("/") if part]
    if len(parts) < 3 or parts[0] != "datasets":
        raise UsageError(f"hf://{rest}: write hf://datasets/ORG/NAME/PATH, or NAME@REVISION")
    name, _, revision = parts[2].partition("@")
    prefix = "/".join(parts[3:])
    return Remote(
        service="hf",
        base=f"hf://{'/'.join(parts)}",
        bucket=f"{parts[1]}/{name}@{unquote(revision) or 'main'}",
        prefix=_prefix(prefix, f"hf://{rest}"),
    )


def _http(text: str) -> Remote:
    url = urlsplit(text)
    login, _, host = url.netloc.rpartition("@")
    if not host:
        raise UsageError(f"{url.scheme}:// lacks the host: write {url.scheme}://HOST/PATH")
    prefix = url.path.strip("/")
    return Remote(
        service="http",
        base=f"{url.scheme}://{host}" + (f"/{prefix}" if prefix else ""),
        bucket=host,
        prefix=prefix,
        query=url.query,
        login=unquote(login),
    )


def _prefix(path: str, shown: str) -> str:
    prefix = path.strip("/")
    if any(part in {"", ".", ".."} for part in prefix.split("/") if prefix):
        raise UsageError(f"{shown}: a part of the path is empty, '.' or '..'")
    return prefix
