"""Buckets and web servers as stores, through obstore.

A call that is one request is tried again here: waits can be interrupted, and the errors say what
was done. Inside a call that is many requests (a listing's pages, the parts of a large upload)
obstore tries each of them again, so that one bad page does not cost all others.
"""

from __future__ import annotations

import builtins
import logging
import os
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar, overload

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import ObjectStore

from millstream.errors import (
    AccessDenied,
    CorruptData,
    MillstreamError,
    UnsupportedError,
)
from millstream.store.clients import Use, make_client
from millstream.store.download import Download
from millstream.store.failures import Kind, RequestFailure, from_client
from millstream.store.fork import use_client
from millstream.store.keys import check_key
from millstream.store.listed import check_listed, tag_of
from millstream.store.messages import failure_error, without_secrets
from millstream.store.options import Settings, settings
from millstream.store.place import Remote
from millstream.store.protocol import Folder, ObjectInfo, Span
from millstream.store.retry import Retrier

log = logging.getLogger(__name__)

T = TypeVar("T")
Explain = Callable[[RequestFailure, int, float], MillstreamError]
Judge = Callable[[Exception], RequestFailure | None]

# Larger files are uploaded in parts, this many at once; the memory it takes is the product.
PART_BYTES = 16 << 20
PARTS_AT_ONCE = 4
# How long requests may fail before that is said.
QUIET_SECONDS = 5.0
# What S3 allows; the others allow more.
MAX_PARTS = 10_000


def open_remote(remote: Remote, options: Mapping[str, object] | None) -> CloudStore:
    """The store at a parsed URL; makes no request."""
    from millstream.store.hub import HubStore

    kind = HubStore if remote.service == "hf" else CloudStore
    return kind(remote, settings(remote.service, options), options)


class CloudStore:
    """The objects below a bucket's URL, or a web server's.

    Threads may share it. It is pickled with the options that it was made from, and with nothing
    that was found in the environment. `close` ends all waits. Used in a process that was forked
    from one that had used the network, it raises ForkedStore.
    """

    def __init__(
        self,
        remote: Remote,
        settings: Settings,
        options: Mapping[str, object] | None,
        retrier: Retrier | None = None,
    ) -> None:
        self._remote, self._settings, self._options = remote, settings, options
        self._retrier = retrier or Retrier(settings.retry)
        self._clients: dict[Use, ObjectStore] = {}
        self._lock = threading.Lock()
        self._noticed = False
        self._excludes = False  # whether a conditional put was seen to be refused

    def __str__(self) -> str:
        return str(self._remote)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def __reduce__(self) -> tuple[object, ...]:
        return open_remote, (self._remote, self._options)

    def __enter__(self) -> CloudStore:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the waits between attempts, with errors; no request can be made any more."""
        self._retrier.close()

    # Read -----------------------------------------------------------------------------------

    @overload
    def get(self, key: str) -> bytes: ...
    @overload
    def get(self, key: str, span: Span) -> memoryview: ...
    def get(self, key: str, span: Span | None = None) -> bytes | memoryview:
        """An object's bytes, or some of them, these without a copy."""
        if span is None:
            return self._request("read", key, lambda: _whole(self._client(), key))
        start, stop = span
        if start >= stop:
            return memoryview(b"")
        part = self._request("read", key, lambda: _part(self._client(), key, span))
        if len(part) < stop - start:
            raise self._beyond(key, span, f"it has {start + len(part)} bytes")
        return part

    def size(self, key: str) -> int:
        """An object's length in bytes."""
        return self._request("find", key, lambda: obstore.head(self._client(), key)["size"])

    def get_file(self, key: str, path: str | os.PathLike[str]) -> None:
        """Writes an object of any size into a file, in little memory."""
        with Path(path).open("wb") as file:
            rest = Download(file)
            while not rest.finished:
                self._request("read", key, lambda: rest.go_on(self._client(), key))

    # List -----------------------------------------------------------------------------------

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """The objects whose keys start with a prefix, sorted by key."""
        self._check_listing()

        def pages() -> builtins.list[ObjectInfo]:
            stream = obstore.list(self._client(Use.MANY), prefix or None, chunk_size=1_000)
            return [_info(meta) for page in stream for meta in page]

        # Servers disagree about the order, and some list the object that is named as the folder.
        found = [info for info in self._request("list", prefix, pages) if info.key]
        return iter(sorted(found, key=lambda info: info.key))

    def folder(self, prefix: str) -> Folder:
        """What lies directly below a prefix."""
        self._check_listing()
        found = self._request(
            "list",
            prefix,
            lambda: obstore.list_with_delimiter(self._client(Use.MANY), prefix or None),
        )
        names = {folder.rstrip("/").rpartition("/")[2] for folder in found["common_prefixes"]}
        objects = [_info(meta) for meta in found["objects"]]
        return Folder(
            folders=sorted(names),
            objects=sorted((info for info in objects if info.key), key=lambda info: info.key),
        )

    def get_listed(self, listed: ObjectInfo, span: Span | None = None) -> memoryview:
        """An object's bytes, or some of them, if it is still the one that was listed."""
        start, stop = span or (0, listed.size)
        if start >= stop:
            return memoryview(b"")

        def part() -> memoryview:
            found = obstore.get(self._client(), listed.key, options={"range": (start, stop)})
            check_listed(self, listed, found.meta["size"], tag_of(found.meta["e_tag"]))
            return memoryview(found.bytes())

        try:
            return self._request("read", listed.key, part)
        except CorruptData:  # it ends before these bytes
            check_listed(self, listed, self.size(listed.key), "")
            raise

    # Write ----------------------------------------------------------------------------------

    def put(self, key: str, content: bytes) -> None:
        """Makes or replaces an object."""
        self._check_writing(key)
        self._request("write", key, lambda: self._put(key, content))

    def put_if_absent(self, key: str, content: bytes) -> bool:
        """Makes an object unless there is one; a lost answer is settled by reading back."""
        self._check_writing(key)
        unknown = False

        def create() -> bool:
            nonlocal unknown
            try:
                obstore.put(
                    self._client(Use.WRITE), key, content, mode="create", use_multipart=False
                )
                return True
            except AlreadyExistsError as error:
                if from_client(error).kind is not Kind.EXISTS:
                    raise
            except BaseError:
                unknown = True
                raise
            return unknown and self.get(key) == content

        return self._request("write", key, create)

    def put_file(self, key: str, path: str | os.PathLike[str]) -> None:
        """Makes or replaces an object from a file; a large one in parts, several at once.

        If it fails, the parts that have arrived are removed.
        """
        self._check_writing(key)
        file = Path(path)
        size = file.stat().st_size
        if size <= PART_BYTES:
            self.put(key, file.read_bytes())
            return
        part = max(PART_BYTES, -(-size // MAX_PARTS))
        self._request(
            "write",
            key,
            lambda: obstore.put(
                self._client(Use.MANY),
                key,
                file,
                use_multipart=True,
                chunk_size=part,
                max_concurrency=PARTS_AT_ONCE,
            ),
        )

    def copy(self, key: str, to: str) -> None:
        """Makes or replaces the object `to` from another; the server copies."""
        self._check_writing(to)
        self._request("copy", key, lambda: obstore.copy(self._client(Use.WRITE), key, to))

    def delete(self, key: str) -> None:
        """Removes an object; there may be none."""
        self._check_writing(key)

        def remove() -> None:
            try:
                obstore.delete(self._client(Use.WRITE), key)
            except FileNotFoundError as error:
                if from_client(error).kind is not Kind.MISSING:
                    raise

        self._request("delete", key, remove)

    def check_conditional_put(self) -> None:
        """Raises UnsupportedError if this server ignores the condition of `put_if_absent`."""
        if self._excludes:
            return
        key = f".probe-{secrets.token_hex(8)}"
        try:
            first = self.put_if_absent(key, b"1")
            second = self.put_if_absent(key, b"2")
        finally:
            self.delete(key)
        if not first or second:
            raise UnsupportedError(
                f"{self}: this server ignores the condition 'only if there is no such object' "
                "(If-None-Match), so two writers could both believe that they had published a "
                "version. Write to a local folder or to another store, and copy it here"
            )
        self._excludes = True

    # Inside ---------------------------------------------------------------------------------

    def _client(self, use: Use = Use.READ) -> ObjectStore:
        with self._lock:
            if use not in self._clients:
                self._clients[use] = make_client(self._remote, self._settings, use)
            return self._clients[use]

    def _put(self, key: str, content: bytes) -> None:
        obstore.put(self._client(Use.WRITE), key, content, use_multipart=False)

    def _request(self, verb: str, key: str, request: Callable[[], T]) -> T:
        """Runs one request until it succeeds. verb: "read", as in "cannot read"."""
        use_client(str(self))
        if verb != "list":
            check_key(key)
        return self._run(verb, key, request, _judge)

    def _run(self, verb: str, key: str, request: Callable[[], T], judge: Judge) -> T:
        return self._retrier.run(request, judge, self._explain(verb, key), self._notice)

    def _notice(self, failure: RequestFailure, seconds: float) -> None:
        """Says once why nothing moves, where somebody may be watching."""
        if seconds > QUIET_SECONDS and not self._noticed:
            self._noticed = True
            longest = self._settings.retry.seconds
            said = without_secrets(str(failure), self._settings)
            log.warning("%s: %s; still trying, for up to %.0f s a request", self, said, longest)

    def _explain(self, verb: str, key: str) -> Explain:
        def explain(failure: RequestFailure, attempts: int, seconds: float) -> MillstreamError:
            action = f"{verb} {key}" if key else verb
            return failure_error(self._remote, self._settings, action, failure, attempts, seconds)

        return explain

    def _beyond(self, key: str, span: Span, why: str) -> CorruptData:
        return CorruptData(
            f"{self}: {key} ends too early: bytes {span[0]} to {span[1]} were asked for, {why}; "
            "write or copy this object again"
        )

    def _check_listing(self) -> None:
        if self._remote.service == "http":
            raise UnsupportedError(f"{self}: a web server cannot list what it has")

    def _check_writing(self, key: str) -> None:
        if self._remote.service in {"http", "hf"}:
            raise UnsupportedError(
                f"{self} can only be read; write to a folder or a bucket, and copy it there"
            )
        if self._settings.anonymous:
            raise AccessDenied(
                f"{self}: cannot write {key} without credentials: skip_signature is set"
            )


def _whole(client: ObjectStore, key: str) -> bytes:
    return obstore.get(client, key).bytes().to_bytes()


def _part(client: ObjectStore, key: str, span: Span) -> memoryview:
    return memoryview(obstore.get_range(client, key, start=span[0], end=span[1]))


def _info(meta: obstore.ObjectMeta) -> ObjectInfo:
    modified = meta["last_modified"].timestamp()
    tag = tag_of(meta["e_tag"])
    return ObjectInfo(key=meta["path"], size=meta["size"], modified=modified, tag=tag)


def _judge(error: Exception) -> RequestFailure | None:
    """What an error of the client means; None for errors that are not the client's."""
    ours = isinstance(error, MillstreamError)
    clients = isinstance(error, BaseError | FileNotFoundError | NotImplementedError | ValueError)
    return from_client(error) if clients and not ours else None
