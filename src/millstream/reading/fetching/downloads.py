"""Objects of a store into the cache, each by several ranges at once."""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from millstream.cache import Cache, Filling, Lease
from millstream.errors import CorruptData
from millstream.reading.fetching.gate import Gate
from millstream.store import ReadableStore

RANGE_BYTES = 8 << 20
# The first is for who waits for it right now.
NOW, AHEAD = 0, 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """An object that is to be in the cache: its key in the store, and its name there."""

    key: str
    name: str
    size: int


@dataclass(order=True)
class _Job:
    urgency: int
    number: int
    work: Callable[[], None] = field(compare=False)


class Downloads:
    """Fetches from one store into one cache with threads of its own, until `close`.

    fetched: objects and bytes that were fetched whole.
    """

    def __init__(self, store: ReadableStore, cache: Cache, gate: Gate, threads: int) -> None:
        self._store, self.cache, self._gate = store, cache, gate
        self._jobs: queue.PriorityQueue[_Job] = queue.PriorityQueue()
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._under_way: dict[str, Future[None]] = {}
        self.fetched = [0, 0]
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def ranges(self, key: str, spans: Sequence[tuple[int, int]]) -> list[bytes | memoryview]:
        """Bytes of an object, all spans at once, in their order; raises what the store raises."""
        if len(spans) == 1:
            return [self._get(key, spans[0])]
        pieces = [self._soon(NOW, partial(self._get, key, span)) for span in spans]
        return [piece.result() for piece in pieces]

    def fetch(self, wanted: Wanted, urgency: int, *, wait: bool) -> Future[None] | None:
        """Has an object fetched; the future ends when it is in the cache, or cannot be.

        None if there is nothing to wait for: it is there, or there is no room for it. wait:
        whether to wait for another process that is fetching it, else Busy is raised.
        """
        with self._lock:
            if (known := self._under_way.get(wanted.name)) is not None:
                return known
        begun = self.cache.begin(wanted.name, wanted.size, wait=wait)
        if begun is None:
            return None
        if isinstance(begun, Lease):
            begun.close()
            return None
        done: Future[None] = Future()
        with self._lock:
            self._under_way[wanted.name] = done
        _Chunk(self, wanted, begun, done).start(urgency)
        return done

    def soon(self, urgency: int, work: Callable[[], None]) -> None:
        """Has something done by one of the threads; it must not raise."""
        self._jobs.put(_Job(urgency, next(self._numbers), work))

    def _soon(self, urgency: int, work: Callable[[], Any]) -> Future[Any]:
        future: Future[Any] = Future()

        def run() -> None:
            try:
                future.set_result(work())
            except BaseException as error:
                future.set_exception(error)

        self.soon(urgency, run)
        return future

    def _get(self, key: str, span: tuple[int, int]) -> bytes | memoryview:
        with self._gate.request() as came:
            piece = self._store.get(key, span)
            came(len(piece))
        if len(piece) != span[1] - span[0]:
            raise CorruptData(
                f"{self._store}: bytes {span[0]} to {span[1]} of {key} were asked for, "
                f"{len(piece)} arrived; copy or write this object again"
            )
        return piece

    def _ended(self, wanted: Wanted, *, complete: bool) -> None:
        with self._lock:
            self._under_way.pop(wanted.name, None)
            if complete:
                self.fetched[0] += 1
                self.fetched[1] += wanted.size

    def _work(self) -> None:
        while (job := self._jobs.get()).number >= 0:
            job.work()

    def close(self) -> None:
        """Ends the threads when what they do now is done."""
        for _ in self._threads:
            self._jobs.put(_Job(-1, -1, lambda: None))


class _Chunk:
    """One object on its way: whoever writes the last of its ranges finishes it."""

    def __init__(
        self, owner: Downloads, wanted: Wanted, filling: Filling, done: Future[None]
    ) -> None:
        self._owner, self._wanted, self._filling, self._done = owner, wanted, filling, done
        self._lock = threading.Lock()
        starts = range(0, wanted.size, RANGE_BYTES)
        self._left = len(starts)
        self._error: BaseException | None = None
        self._spans = [(start, min(start + RANGE_BYTES, wanted.size)) for start in starts]

    def start(self, urgency: int) -> None:
        for span in self._spans:
            self._owner.soon(urgency, partial(self._range, span))

    def _range(self, span: tuple[int, int]) -> None:
        if self._error is None:
            try:
                self._filling.write(span[0], self._owner._get(self._wanted.key, span))
            except BaseException as error:
                self._error = error
        with self._lock:
            self._left -= 1
            last = self._left == 0
        if last:
            self._end()

    def _end(self) -> None:
        try:
            if self._error is None:
                # Every read checks what it reads, so the whole is not hashed here too.
                lease = self._filling.finish(self._wanted.size, verify=False)
                if lease is not None:
                    lease.close()
        except BaseException as error:
            self._error = error
        finally:
            self._filling.give_up()
        self._owner._ended(self._wanted, complete=self._error is None)
        if self._error is None:
            self._done.set_result(None)
        else:
            self._done.set_exception(self._error)
