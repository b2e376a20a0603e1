"""The side of those who read: a store whose requests another process makes.

A process has one fetcher for all its datasets. Its forks, and the workers that are sent a
dataset, connect to the same one as long as it lives; after that they start their own.
"""

from __future__ import annotations

import builtins
import logging
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
from millstream.execution.pickling import pickled
from millstream.execution.worker import Worker
from millstream.reading.fetching import handshake, service
from millstream.reading.fetching.asks import Filled, ListedNeeds, Needs, Piece, Wanted
from millstream.reading.fetching.handshake import Address
from millstream.reading.raw.files import Files
from millstream.store import ReadableStore

log = logging.getLogger(__name__)

# Of files that were fetched ahead into the fetcher's memory, for all streams of a dataset.
MEMORY_BYTES = 256_000_000


class _FetcherDied(StorageError):
    pass


class Fetcher:
    """A process that fetches; it ends with this object, or with this process."""

    def __init__(self) -> None:
        token = secrets.token_bytes(handshake.TOKEN_BYTES)
        worker = Worker(pickled(service.begin, "the fetcher"), 0)
        self.process, self._owner = worker.process, os.getpid()
        self.end = weakref.finalize(self, worker.end, kill=True)
        worker.give(0, pickle.dumps(token))
        started = worker.hear()
        if started is None:
            worker.end(kill=True)
            raise WorkerDied(f"the process that fetches chunks {worker.death()} as it began")
        self.address: Address = (started.result(), token)

    @property
    def is_dead(self) -> bool:
        """Whether the process has ended, as far as this one, its parent, can know."""
        return self._owner == os.getpid() and self.process.poll() is not None


class _Ours:
    """The fetcher of this process, for as long as a dataset has it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.fetcher: weakref.ref[Fetcher] | None = None


_ours = _Ours()


def our_fetcher(failed: Address | None = None) -> Fetcher:
    """The fetcher of this process, started if there is none; the one at `failed` is ended."""
    with _ours.lock:
        fetcher = None if _ours.fetcher is None else _ours.fetcher()
        if fetcher is not None and fetcher.address == failed:
            fetcher.end()  # it is about to, or it hangs
        if fetcher is None or fetcher.is_dead:
            fetcher = Fetcher()
            _ours.fetcher = weakref.ref(fetcher)
        return fetcher


def _after_fork() -> None:
    global _ours
    _ours = _Ours()  # what was inherited is the parent's


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class FetchedStore:
    """A store as it is read through a fetcher, and the cache that its objects go to.

    Threads may share it. A fetcher that dies is replaced, which is logged. Raises what the store
    raises, and StorageError if the next one dies over the same request.

    It is pickled with the address of its fetcher, and with the store, which is pickled with the
    options that it was made from: who gets it must be able to start a fetcher if this one is gone.
    Credentials that were found in the environment are not among these. So a pickled dataset is as
    secret as its storage_options.
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
        self._counter = b""
        self._counted = self._counted_before = (0, 0)
        self._opening: tuple[Any, ...] | None = None  # what each connection begins with

    def __reduce__(self) -> tuple[Any, ...]:
        if self._fetcher is not None and self._fetcher.is_dead:
            self._use_ours()
        return FetchedStore, (self._store, self._root, self._limit, self._address)

    def __str__(self) -> str:
        return str(self._store)

    def get(self, key: str) -> bytes:
        """An object's bytes."""
        content: bytes = self._ask("get", key)
        return content

    def files(self) -> Files:
        """All files of the place, as they are listed now."""
        files: Files = self._ask("files")
        return files

    def ranges(self, asks: Sequence[tuple[Wanted, Sequence[Piece]]]) -> list[list[memoryview]]:
        """Pieces of objects, all fetched at the same time."""
        pieces: list[list[memoryview]] = self._ask("ranges", asks)
        return pieces

    def fill(self, asks: Sequence[tuple[Wanted, Sequence[Piece]]]) -> Filled:
        """Has objects fetched to the cache as far as there is room, and waits for these pieces."""
        filled: Filled = self._ask("fill", asks)
        return filled

    def follow(self, needs: Needs, among: int = 1) -> Following:
        """Has the fetcher go ahead of a stream with these needs, one of so many at a time."""
        return Following(self, ("follow", needs, self._limit // (2 * among)))

    def follow_files(self, among: int = 1, *, in_memory: bool) -> Following:
        """The same, for a stream that tells bit by bit which files it needs.

        in_memory: whether these come into the fetcher's memory, where `take` finds them.
        """
        budget = MEMORY_BYTES // among if in_memory else self._limit // (4 * among)
        return Following(self, ("follow_files", budget, in_memory))

    def take(self, asks: Sequence[Wanted]) -> list[memoryview]:
        """Listed objects by way of the fetcher's memory, each fetched for this."""
        contents: list[memoryview] = self._ask("take", asks)
        return contents

    def fetched(self) -> tuple[int, int]:
        """How many objects, and bytes of these, were brought whole from here to the cache.

        By the fetcher, for all who read from this place through it; it counts from when the first
        of them began. What one that died had counted last is in it.
        """
        counter, chunks, nbytes = self._ask("fetched")
        if counter != self._counter:
            self._counter = counter
            self._counted_before = self._counted
        before = self._counted_before
        self._counted = before[0] + chunks, before[1] + nbytes
        return self._counted

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
                try:
                    value, error = self._exchange(request, answered=answered)
                except _FetcherDied:
                    log.warning(
                        "%s: the process that fetches has died; another is started", str(self)
                    )
                    self.close()
                    value, error = self._exchange(request, answered=answered)
            except BaseException:
                self.close()  # perhaps between two halves of a message
                raise
        if error is not None:
            try:
                raise error
            finally:
                del error  # its traceback holds this frame, and so this store
        return value

    def _exchange(self, request: Any, *, answered: bool) -> tuple[Any, Exception | None]:
        """The answer to a request, or the error that it was answered with."""
        if self._connection is None or _has_ended(self._connection):
            self._connection = self._connect()
        return self._exchange_over(self._connection, request, answered=answered)

    def _connect(self) -> socket.socket:
        connection = None if self._address is None else handshake.connect(self._address)
        if connection is None:  # whoever had it is gone, or it was killed
            connection = handshake.connect(self._use_ours())
        if connection is None:  # nor does the one answer that this process had already
            connection = handshake.connect(self._use_ours())
        if connection is None:
            raise StorageError(f"{self}: the process that fetches its chunks does not answer")
        self._end_connection = weakref.finalize(self, connection.close)
        _, error = self._exchange_over(connection, ("place", self._place), answered=True)
        if error is not None:
            raise error
        if self._opening is not None:
            self._exchange_over(connection, self._opening, answered=False)
        return connection

    def _use_ours(self) -> Address:
        self._fetcher = our_fetcher(failed=self._address)
        self._address = self._fetcher.address
        return self._address

    def _exchange_over(
        self, connection: socket.socket, request: Any, *, answered: bool
    ) -> tuple[Any, Exception | None]:
        try:
            wire.send(connection, wire.dump(request))
            message = wire.receive(connection) if answered else []
        except OSError:
            message = None
        if message is None:
            raise _FetcherDied(
                f"{self}: the process that fetches its chunks has died, and so did the one before "
                "it; was the machine out of memory?"
            )
        if not answered:
            return None, None
        value, told = wire.load(message)
        return value, None if told is None else _error(*told)


class Following:
    """The fetcher goes ahead of a stream as long as this lives.

    opening: what the stream needs, and how much of the cache that may take before it is passed.
    It has a connection of its own: that ends when this is forgotten, which may happen at any moment
    and in any thread.
    """

    def __init__(self, store: FetchedStore, opening: tuple[Any, ...]) -> None:
        self._store = FetchedStore(*store.__reduce__()[1])
        self._store._opening = opening
        self.at(0)

    def at(self, position: int) -> None:
        """The stream has passed all positions before this one."""
        self._store._ask("at", position, answered=False)

    def tell(self, needs: ListedNeeds) -> None:
        """The stream will read these files next. After another fetcher was started it knows only
        of those that it is told from then on; others are fetched when they are read."""
        self._store._ask("tell", needs, answered=False)


def _has_ended(connection: socket.socket) -> bool:
    """Whether the other side is gone; nobody there speaks without being asked."""
    try:
        return not connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True


def _error(name: str, message: str) -> Exception:
    kind = getattr(errors, name, None) or getattr(builtins, name, None) or StorageError
    error: Exception = kind(message)
    return error
