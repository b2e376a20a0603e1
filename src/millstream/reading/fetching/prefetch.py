"""Goes ahead of a stream: fetches the chunks that it will need, in that order, and holds them."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass

from millstream.cache import Busy, Lease
from millstream.errors import MillstreamError
from millstream.reading.fetching.downloads import AHEAD, Downloads, Wanted

# Chunks that may be held for a stream; each takes descriptors.
MOST_HELD = 256
# Chunks that may be on their way at once.
MOST_COMING = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """A chunk, and the positions between which a stream reads rows of it."""

    wanted: Wanted
    first: int
    last: int


class Prefetch:
    """Fetches what a stream needs next, within a budget of bytes, until `close`.

    needs: by the position at which each is first read. What is held is not evicted before the
    stream has passed it. An error is left to who reads the chunk, and gets it too.
    """

    def __init__(self, downloads: Downloads, needs: Sequence[Need], budget: int) -> None:
        self._downloads, self._needs, self._budget = downloads, needs, budget
        self._position = 0
        self._closed = False
        self._changed = threading.Condition()
        self._held: list[tuple[int, int, Lease]] = []  # by the last position that needs it
        self._held_bytes = 0
        self._numbers = itertools.count()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def at(self, position: int) -> None:
        """The stream has passed all positions before this one."""
        with self._changed:
            self._position = max(self._position, position)
            while self._held and self._held[0][0] < self._position:
                _, _, lease = heapq.heappop(self._held)
                self._held_bytes -= len(lease.content)
                lease.close()
            self._changed.notify_all()

    def close(self) -> None:
        """Ends it, and lets go of all that is held."""
        with self._changed:
            self._closed = True
            for _, _, lease in self._held:
                lease.close()
            self._held.clear()
            self._changed.notify_all()

    def _work(self) -> None:
        coming: set[Future[None]] = set()
        for need in self._needs:
            if not self._until_room_for(need):
                return
            while len(coming) >= MOST_COMING:
                _, coming = wait(coming, return_when="FIRST_COMPLETED")
            future = self._begin(need)
            if future is not None:
                coming.add(future)

    def _until_room_for(self, need: Need) -> bool:
        """Waits until the need is the next that fits; False when it is all over."""
        with self._changed:
            while not self._closed and need.last >= self._position and not self._fits(need):
                self._changed.wait()
            return not self._closed

    def _fits(self, need: Need) -> bool:
        # One is always let in: a budget smaller than a chunk must not stop the stream for ever.
        fits = self._held_bytes + need.wanted.size <= self._budget
        return not self._held or (fits and len(self._held) < MOST_HELD)

    def _begin(self, need: Need) -> Future[None] | None:
        if need.last < self._position:
            return None
        try:
            future = self._downloads.fetch(need.wanted, AHEAD, wait=False)
        except (Busy, MillstreamError):
            return None
        if future is None:
            self._hold(need)
            return None
        future.add_done_callback(self._holder(need))
        return future

    def _holder(self, need: Need) -> Callable[[Future[None]], None]:
        def hold(future: Future[None]) -> None:
            if future.exception() is None:
                self._hold(need)

        return hold

    def _hold(self, need: Need) -> None:
        lease = self._downloads.cache.find(need.wanted.name, need.wanted.size)
        if lease is None:
            return
        with self._changed:
            if self._closed or need.last < self._position:
                lease.close()
                return
            heapq.heappush(self._held, (need.last, next(self._numbers), lease))
            self._held_bytes += len(lease.content)
