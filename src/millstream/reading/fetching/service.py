"""The side of the fetcher: hears those who read, each over a connection of its own.

It runs in a process that was started by exec and never forks, since a network client does not
survive that. Connections are on the loopback interface; each begins with a token that only the
process which started this one knows, and those that it tells.
"""

from __future__ import annotations

import hmac
import pickle
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from millstream.cache import Cache
from millstream.errors import MillstreamError
from millstream.execution import wire
from millstream.execution.protocol import failure
from millstream.reading.fetching.downloads import NOW, Downloads, Wanted
from millstream.reading.fetching.gate import MOST, Gate
from millstream.reading.fetching.prefetch import Need, Prefetch
from millstream.store import ReadableStore

TOKEN_BYTES = 32


def begin(number: int) -> Callable[[bytes], int]:
    """What the fetcher's process calls first; the one task it is then given is to listen."""
    return listen


def listen(token: bytes) -> int:
    """Serves who knows the token, from threads; returns the port."""
    service = _Service(token)
    threading.Thread(target=service.accept, daemon=True).start()
    return service.port


class _Service:
    def __init__(self, token: bytes) -> None:
        self._token = token
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._places: dict[bytes, _Place] = {}

    def accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            if not self._is_known(connection):
                return
            reader = _Reader(self)
            try:
                while (message := wire.receive(connection)) is not None:
                    if (answer := reader.answer(wire.load(message))) is not None:
                        wire.send(connection, wire.dump(answer))
            finally:
                reader.close()

    def _is_known(self, connection: socket.socket) -> bool:
        connection.settimeout(10)
        got = b""
        while len(got) < TOKEN_BYTES and (piece := connection.recv(TOKEN_BYTES - len(got))):
            got += piece
        connection.settimeout(None)
        return hmac.compare_digest(got, self._token)

    def place(self, content: bytes) -> _Place:
        with self._lock:
            if content not in self._places:
                self._places[content] = _Place(*pickle.loads(content))
            return self._places[content]


class _Place:
    """A store, and the cache that its objects go to."""

    def __init__(self, store: ReadableStore, root: Path, limit: int) -> None:
        self.store, self._root, self._limit = store, root, limit
        self._lock = threading.Lock()
        self._downloads: Downloads | None = None
        self.streams = 0  # under way, of which none has got a chunk yet if `fetched` is nothing

    @property
    def downloads(self) -> Downloads:
        with self._lock:
            if self._downloads is None:
                cache = Cache(self._root, self._limit)
                self._downloads = Downloads(self.store, cache, Gate(time.monotonic), MOST)
            return self._downloads


class _Reader:
    """One connection: whose place it is, and the stream that goes ahead of it."""

    def __init__(self, service: _Service) -> None:
        self._service = service
        self._place: _Place | None = None
        self._prefetch: Prefetch | None = None

    def answer(self, request: tuple[str, Any]) -> tuple[Any, tuple[str, str] | None] | None:
        """The answer, or None for what has none: (value, error as its class and its text)."""
        name, *arguments = request
        try:
            value = getattr(self, f"do_{name}")(*arguments)
        except MillstreamError as error:
            return None, (type(error).__name__, str(error))
        except OSError as error:
            return None, (type(error).__name__, str(error))
        except Exception as error:
            return None, ("FunctionError", str(failure(error)))
        return None if name in ("follow", "at") else (value, None)

    def do_place(self, content: bytes) -> None:
        self._place = self._service.place(content)

    @property
    def _known(self) -> _Place:
        if self._place is None:
            raise RuntimeError("the first request names a place")
        return self._place

    def do_get(self, key: str) -> bytes:
        return bytes(self._known.store.get(key))

    def do_ranges(self, key: str, spans: Sequence[tuple[int, int]]) -> list[bytes | memoryview]:
        pieces = self._known.downloads.ranges(key, spans)
        # A buffer of the client's own is not copied into the pickle, but sent beside it.
        return [pickle.PickleBuffer(piece) for piece in pieces]  # type: ignore[misc]

    def do_fill(self, wanted: Wanted) -> bool:
        """Whether the object is in the cache, for which it may have been fetched.

        At the start of a stream, where no chunk has arrived yet, nobody is made to wait for a
        whole one: they read their rows by ranges.
        """
        place = self._known
        downloads = place.downloads
        if place.streams and not downloads.fetched[0]:
            return False
        future = downloads.fetch(wanted, NOW, wait=True)
        if future is not None:
            future.result()
        lease = downloads.cache.find(wanted.name, wanted.size)
        if lease is None:
            return False
        lease.close()
        return True

    def do_follow(self, needs: Sequence[Need], budget: int) -> None:
        self._end_stream()
        self._known.streams += 1
        self._prefetch = Prefetch(self._known.downloads, needs, budget)

    def do_at(self, position: int) -> None:
        if self._prefetch is not None:
            self._prefetch.at(position)

    def do_fetched(self) -> tuple[int, int]:
        chunks, nbytes = self._known.downloads.fetched
        return chunks, nbytes

    def _end_stream(self) -> None:
        if self._prefetch is not None:
            self._prefetch.close()
            self._prefetch = None
            self._known.streams -= 1

    def close(self) -> None:
        self._end_stream()
