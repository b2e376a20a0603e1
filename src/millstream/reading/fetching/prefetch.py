"""Goes ahead of a stream: fetches the objects that it will need, in that order, and holds them."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue

from millstream.cache import Lease
from millstream.errors import MillstreamError
from millstream.reading.fetching.arriving import Arriving
from millstream.reading.fetching.asks import Need
from millstream.reading.fetching.downloads import Downloads

# Objects that may be held for a stream; each takes descriptors.
MOST_HELD = 256
# Objects that may be there for a stream where none is held.
MOST_COUNTED = 1 << 16
# Objects that may be on their way at once.
MOST_COMING = 48


class Prefetch:
    """Fetches what a stream needs next, within a budget of bytes, until `close`.

    needs: by the position at which each is first read. What is held is not evicted before the
    stream has passed it. An error is left to who reads the object, and gets it too.

    holds: of many small objects none is held, which would take two descriptors each. As they count
    until they are passed, in a quarter of the cache, others are evicted first, which were used
    before these came.
    """

    def __init__(
        self, downloads: Downloads, needs: Iterable[Need], budget: int, *, holds: bool = True
    ) -> None:
        self._downloads, self._needs, self._budget = downloads, needs, budget
        self._most_held = MOST_HELD if holds else MOST_COUNTED
        self._holds = holds
        self._position = 0
        self._closed = False
        self._changed = threading.Condition()
        # What has come, by the last position that needs it, with its size.
        self._held: list[tuple[int, int, int, Lease | None]] = []
        self._bytes = 0  # of what is held, and of what is on its way
        self._coming = 0
        self._numbers = itertools.count()
        self.thread = threading.Thread(target=self._work, daemon=True)
        self.thread.start()

    def at(self, position: int) -> None:
        """The stream has passed all positions before this one."""
        with self._changed:
            self._position = max(self._position, position)
            while self._held and self._held[0][0] < self._position:
                _, _, size, lease = heapq.heappop(self._held)
                self._bytes -= size
                if lease is not None:
                    lease.close()
            self._changed.notify_all()

    def close(self) -> None:
        """Ends it, and lets go of all that is held."""
        with self._changed:
            self._closed = True
            for _, _, _, lease in self._held:
                if lease is not None:
                    lease.close()
            self._held.clear()
            self._changed.notify_all()

    def _work(self) -> None:
        for need in self._needs:
            with self._changed:
                while not (self._closed or self._is_past(need) or self._fits(need)):
                    self._changed.wait()
                if self._closed:
                    return
                if self._is_past(need):
                    continue
                self._bytes += need.wanted.size
                self._coming += 1
            self._begin(need)

    def _is_past(self, need: Need) -> bool:
        return need.last < self._position

    def _fits(self, need: Need) -> bool:
        # One is always let in: a budget smaller than an object must not stop the stream for ever.
        if not self._held and not self._coming:
            return True
        fits = self._bytes + need.wanted.size <= self._budget
        return fits and self._coming < MOST_COMING and len(self._held) < self._most_held

    def _begin(self, need: Need) -> None:
        try:
            begun = self._downloads.begin(need.wanted, (need.first, need.last), wait=False)
        except (MillstreamError, OSError):  # Busy, too: another process has it fetched
            self._came(need, there=False)
            return
        if isinstance(begun, Arriving):
            begun.done.add_done_callback(partial(self._ended, need))
        else:
            self._came(need, there=True)

    def _ended(self, need: Need, done: Future[None]) -> None:
        self._came(need, there=done.exception() is None)

    def _came(self, need: Need, *, there: bool) -> None:
        wanted = need.wanted
        lease = None
        if there and self._holds:
            lease = self._downloads.cache.find(wanted.name, wanted.size)
            there = lease is not None
        with self._changed:
            self._coming -= 1
            if not there or self._closed or self._is_past(need):
                self._bytes -= wanted.size
                if lease is not None:
                    lease.close()
            else:
                entry = need.last, next(self._numbers), wanted.size, lease
                heapq.heappush(self._held, entry)
            self._changed.notify_all()


class Told:
    """Needs that become known bit by bit: who iterates waits for more, until `end`."""

    def __init__(self) -> None:
        self._parts: SimpleQueue[Iterable[Need] | None] = SimpleQueue()

    def __iter__(self) -> Iterator[Need]:
        while (part := self._parts.get()) is not None:
            yield from part

    def tell(self, needs: Iterable[Need]) -> None:
        """Further ones."""
        self._parts.put(needs)

    def end(self) -> None:
        """There are no more."""
        self._parts.put(None)
