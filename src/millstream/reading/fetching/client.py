"""The side of those who read: a store whose requests another process makes.

A process has one fetcher for all its datasets. Its forks, and the workers that are sent a
dataset, connect to the same one as long as it lives; after that they start their own.
"""

from __future__ import annotations

import builtins
import os
import pickle
import secrets
import socket
import threading
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from millstream import errors
from millstream.cache import Cache
from millstream.errors import StorageError, WorkerDied
from millstream.execution import wire
from millstream.execution.worker import Worker, pickled
from millstream.reading.fetching import service
from millstream.reading.fetching.downloads import Wanted
from millstream.reading.fetching.prefetch import Need
from millstream.store import ReadableStore

Address = tuple[int, bytes]  # a port, and the token that is asked for there


class Fetcher:
    """A process that fetches; it ends with this object, or with this process."""

    def __init__(self) -> None:
        token = secrets.token_bytes(service.TOKEN_BYTES)
        worker = Worker(pickled(service.begin, "the fetcher"), 0)
        self.process = worker.process
        weakref.finalize(self, worker.end, kill=True)
        worker.give(0, pickle.dumps(token))
        started = worker.hear()
        if started is None:
            worker.end(kill=True)
            raise WorkerDied(f"the process that fetches chunks {worker.death()} as it began")
        self.address: Address = (started.result(), token)


class _Ours:
    """The fetcher of this process, for as long as a dataset has it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.pid = os.getpid()
        self.fetcher: weakref.ref[Fetcher] | None = None


_ours = _Ours()


def our_fetcher() -> Fetcher:
    """The fetcher of this process, started if there is none."""
    global _ours
    if _ours.pid != os.getpid():  # a fork: what it inherited is its parent's
        _ours = _Ours()
    with _ours.lock:
        fetcher = None if _ours.fetcher is None else _ours.fetcher()
        if fetcher is None or fetcher.process.poll() is not None:
            fetcher = Fetcher()
            _ours.fetcher = weakref.ref(fetcher)
        return fetcher


class FetchedStore:
    """A store as it is read through a fetcher, and the cache that its objects go to.

    Threads may share it. It is pickled with the address of its fetcher. Raises what the store
    raises, and StorageError if the fetcher dies.
    """

    def __init__(
        self, store: ReadableStore, root: Path, limit: int, address: Address | None = None
    ) -> None:
        self._store, self._root, self._limit = store, root, limit
        self._place = pickle.dumps((store, root, limit))
        self._lock, self._pid = threading.Lock(), os.getpid()
        self._connection: socket.socket | None = None
        self._end_connection: Callable[[], object] = lambda: None
        self._fetcher = our_fetcher() if address is None else None
        self._address = self._fetcher.address if self._fetcher else address

    def __reduce__(self) -> tuple[Any, ...]:
        return FetchedStore, (self._store, self._root, self._limit, self._address)

    def __str__(self) -> str:
        return str(self._store)

    def get(self, key: str) -> bytes:
        """An object's bytes."""
        content: bytes = self._ask("get", key)
        return content

    def ranges(self, key: str, spans: Sequence[tuple[int, int]]) -> list[bytes | memoryview]:
        """Some bytes of an object for each span, fetched at the same time."""
        pieces: list[bytes | memoryview] = self._ask("ranges", key, list(spans))
        return pieces

    def fill(self, wanted: Wanted) -> bool:
        """Whether an object is in the cache now; it is fetched if there is room."""
        is_there: bool = self._ask("fill", wanted)
        return is_there

    def follow(self, needs: Sequence[Need]) -> None:
        """From now on the fetcher goes ahead of a stream with these needs.

        What it holds for the stream takes at most half of the cache.
        """
        self._ask("follow", list(needs), self._limit // 2, answered=False)

    def at(self, position: int) -> None:
        """The stream has passed all positions before this one."""
        self._ask("at", position, answered=False)

    def fetched(self) -> tuple[int, int]:
        """How many objects, and bytes of these, the fetcher has brought whole to the cache."""
        chunks, nbytes = self._ask("fetched")
        return chunks, nbytes

    def cache(self) -> Cache:
        """The cache that objects go to."""
        return Cache(self._root, self._limit)

    def close(self) -> None:
        """Ends the connection."""
        self._connection = None
        self._end_connection()

    def _ask(self, *request: Any, answered: bool = True) -> Any:
        if self._pid != os.getpid():  # a fork: the connection is its parent's
            self._lock, self._pid = threading.Lock(), os.getpid()
            self.close()
        with self._lock:
            try:
                if self._connection is None:
                    self._connection = self._connect()
                return self._exchange(self._connection, request, answered=answered)
            except BaseException as error:
                if not isinstance(error, errors.MillstreamError | FileNotFoundError):
                    self.close()  # perhaps between two halves of a message
                raise

    def _connect(self) -> socket.socket:
        connection = None if self._address is None else _connected(self._address)
        if connection is None:  # whoever had it is gone, or it was killed
            self._fetcher = our_fetcher()
            self._address = self._fetcher.address
            connection = _connected(self._address)
        if connection is None:
            raise StorageError(f"{self}: the process that fetches its chunks does not answer")
        self._end_connection = weakref.finalize(self, connection.close)
        self._exchange(connection, ("place", self._place), answered=True)
        return connection

    def _exchange(self, connection: socket.socket, request: Any, *, answered: bool) -> Any:
        try:
            wire.send(connection, wire.dump(request))
            message = wire.receive(connection) if answered else []
        except OSError:
            message = None
        if message is None:
            self.close()
            raise StorageError(
                f"{self}: the process that fetches its chunks has died; was it killed, or the "
                "machine out of memory? Iterate again: another one is started"
            )
        if not answered:
            return None
        value, error = wire.load(message)
        if error is not None:
            raise _error(*error)
        return value


def _connected(address: Address) -> socket.socket | None:
    port, token = address
    try:
        connection = socket.create_connection(("127.0.0.1", port))
    except OSError:
        return None
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(token)
    return connection


def _error(name: str, message: str) -> Exception:
    kind = getattr(errors, name, None) or getattr(builtins, name, None) or StorageError
    error: Exception = kind(message)
    return error
