"""The side of the fetcher: hears those who read, each over a connection of its own.

It runs in a process that was started by exec and never forks, since a network client does not
survive that. Connections are on the loopback interface, and both ends prove that they know a token
which only the process that started this one has, and those that it tells.
"""

from __future__ import annotations

import pickle
import secrets
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from millstream.cache import Cache
from millstream.errors import MillstreamError
from millstream.execution import wire
from millstream.execution.protocol import failure
from millstream.reading.fetching import handshake
from millstream.reading.fetching.asks import Filled, ListedNeeds, Needs, Piece, Wanted
from millstream.reading.fetching.downloads import Downloads
from millstream.reading.fetching.gate import MOST, Gate
from millstream.reading.fetching.memory import InMemory, MemoryAhead
from millstream.reading.fetching.prefetch import MOST_COUNTED, Prefetch, Told, Unheld
from millstream.reading.fetching.turns import Turns
from millstream.store import ListingStore, ReadableStore

if TYPE_CHECKING:
    from millstream.reading.raw.files import Files

# Beside those whose number the gate finds: for what readers wait for.
URGENT_THREADS = 32
# Of what a stream needs, this part may be fetched twice at its start, at most so many bytes.
EARLY_PART, EARLY_BYTES = 1 / 128, 32 << 20
UNANSWERED = ("follow", "follow_files", "tell", "at")


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
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._places: dict[bytes, _Place] = {}

    def accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            if not handshake.accept(connection, self._token):
                return
            reader = _Reader(self)
            try:
                while (message := wire.receive(connection)) is not None:
                    if (answer := reader.answer(wire.load(message))) is not None:
                        wire.send(connection, wire.dump(answer))
            finally:
                reader.close()

    def enter(self, content: bytes) -> _Place:
        """The place that a reader names, made if no other reader is at it."""
        with self._lock:
            if content not in self._places:
                self._places[content] = _Place(*pickle.loads(content))
            place = self._places[content]
            place.readers += 1
            return place

    def leave(self, place: _Place) -> None:
        """A reader has gone; the last one ends what the place holds."""
        with self._lock:
            place.readers -= 1
            if not place.readers:
                self._places = {key: one for key, one in self._places.items() if one is not place}
                place.close()


class _Place:
    """A store, and the cache that its objects go to."""

    def __init__(self, store: ReadableStore, root: Path, limit: int) -> None:
        self.store, self._root, self._limit = store, root, limit
        self.readers, self.counter = 0, secrets.token_bytes(16)
        self._lock = threading.Lock()
        self._turns = Turns(Gate(time.monotonic), MOST + URGENT_THREADS)
        self._downloads: Downloads | None = None
        self.in_memory = InMemory(store, self._turns)

    @property
    def downloads(self) -> Downloads:
        with self._lock:
            if self._downloads is None:
                cache = Cache(self._root, self._limit)
                self._downloads = Downloads(self.store, cache, self._turns)
            return self._downloads

    @property
    def fetched(self) -> tuple[int, int]:
        return (0, 0) if self._downloads is None else self._downloads.fetched

    def close(self) -> None:
        self._turns.close()
        if self._downloads is not None:
            self._downloads.close()


class _Reader:
    """One connection: whose place it is, and the stream that goes ahead of it."""

    def __init__(self, service: _Service) -> None:
        self._service = service
        self._place: _Place | None = None
        self._prefetch: Prefetch | None = None
        self._told = Told()
        self._memory: MemoryAhead | None = None

    def answer(self, request: tuple[str, Any]) -> tuple[Any, tuple[str, str] | None] | None:
        """The answer: (value, error as its class and its text); None for what has none.

        Who only says where a stream is does not wait, and hears of no error: who reads does.
        """
        name, *arguments = request
        told = None
        value = None
        try:
            value = getattr(self, f"do_{name}")(*arguments)
        except (MillstreamError, OSError) as error:
            told = type(error).__name__, str(error)
        except Exception as error:
            told = "FunctionError", str(failure(error))
        return None if name in UNANSWERED else (value, told)

    def do_place(self, content: bytes) -> None:
        self._place = self._service.enter(content)

    @property
    def _known(self) -> _Place:
        if self._place is None:
            raise RuntimeError("the first request names a place")
        return self._place

    def do_get(self, key: str) -> bytes:
        return bytes(self._known.store.get(key))

    def do_files(self) -> Files:
        # Not at the top: for chunks none of it is needed, and a fetcher starts the sooner.
        from millstream.reading.raw.listing import list_files

        return list_files(cast(ListingStore, self._known.store))

    def do_ranges(self, asks: Sequence[tuple[Wanted, Sequence[Piece]]]) -> list[list[Any]]:
        found = self._known.downloads.ranges(asks)
        # A buffer of the client's own is not copied into the pickle, but sent beside it.
        return [[pickle.PickleBuffer(piece) for piece in pieces] for pieces in found]

    def do_fill(self, asks: Sequence[tuple[Wanted, Sequence[Piece]]]) -> Filled:
        return self._known.downloads.fill(asks)

    def do_follow(self, needs: Needs, budget: int) -> None:
        self._end_stream()
        downloads = self._known.downloads
        downloads.allow_early(min(EARLY_BYTES, int(needs.nbytes * EARLY_PART)))
        self._prefetch = Prefetch(downloads, needs, budget)

    def do_take(self, asks: Sequence[Wanted]) -> list[Any]:
        return [pickle.PickleBuffer(content) for content in self._known.in_memory.take(asks)]

    def do_follow_files(self, budget: int, in_memory: bool) -> None:
        self._end_stream()
        self._told, place = Told(), self._known
        self._memory = MemoryAhead(place.in_memory) if in_memory else None
        fetches = self._memory or Unheld(place.downloads)
        self._prefetch = Prefetch(fetches, self._told, budget, most=MOST_COUNTED)

    def do_tell(self, needs: ListedNeeds) -> None:
        self._told.tell(needs)

    def do_at(self, position: int) -> None:
        if self._prefetch is not None:
            self._prefetch.at(position)

    def do_fetched(self) -> tuple[bytes, int, int]:
        """What was fetched since a place was made, which is named by some bytes of its own."""
        return self._known.counter, *self._known.fetched

    def _end_stream(self) -> None:
        if self._memory is not None:  # first, so that what was fetched is still there
            self._memory.leave()
            self._memory = None
        if self._prefetch is not None:
            self._prefetch.close()
            self._prefetch = None
        self._told.end()

    def close(self) -> None:
        self._end_stream()
        if self._place is not None:
            self._service.leave(self._place)
