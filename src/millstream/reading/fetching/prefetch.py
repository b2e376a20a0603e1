"""Goes ahead of a stream: fetches the objects that it will need, in that order, and holds them."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue
from typing import Any, Protocol

from millstream.errors import MillstreamError
from millstream.reading.fetching.asks import Need, Presence, Wanted
from millstream.reading.fetching.downloads import Downloads

# Objects that may be held for a stream; each takes descriptors.
MOST_HELD = 256
# Objects that may be there for a stream where that takes none.
MOST_COUNTED = 1 << 16
# Objects that may be on their way at once.
MOST_COMING = 48


class Hold(Protocol):
    """What keeps an object where it came to."""

    def close(self) -> None:
        """Lets go of it."""


class OnItsWay(Protocol):
    """An object that is being fetched."""

    @property
    def done(self) -> Future[Any]:
        """Ends when it is there, or with an error."""


class Fetches(Protocol):
    """What objects are fetched by, and to."""

    def begin(self, wanted: Wanted, due: tuple[float, float], *, wait: bool) -> OnItsWay | Presence:
        """Has an object fetched; or says that it is there, or that there is no room for it.

        due: when its first and its last byte are needed. wait: False; Busy is raised then if
        another process is fetching it.
        """

    def hold(self, wanted: Wanted, begun: OnItsWay | Presence) -> Hold | None:
        """Keeps an object that has come; None if it is gone already."""

    def skip(self, wanted: Wanted) -> None:
        """The stream needs an object no more that was not begun."""


class Prefetch:
    """Fetches what a stream needs next, within a budget of bytes, until `close`.

    needs: by the position at which each is first read. What is held is not evicted before the
    stream has passed it. most: objects that may be held at once. An error is left to who reads the
    object, and gets it too.
    """

    def __init__(
        self, fetches: Fetches, needs: Iterable[Need], budget: int, *, most: int = MOST_HELD
    ) -> None:
        self._fetches, self._needs, self._budget, self._most = fetches, needs, budget, most
        self._position = 0
        self._closed = False
        self._changed = threading.Condition()
        # What has come, by the last position that needs it, with its size.
        self._held: list[tuple[int, int, int, Hold]] = []
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
                _, _, size, hold = heapq.heappop(self._held)
                self._bytes -= size
                hold.close()
            self._changed.notify_all()

    def close(self) -> None:
        """Ends it, and lets go of all that is held."""
        with self._changed:
            self._closed = True
            for _, _, _, hold in self._held:
                hold.close()
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
                    self._fetches.skip(need.wanted)
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
        return fits and self._coming < MOST_COMING and len(self._held) < self._most

    def _begin(self, need: Need) -> None:
        try:
            begun = self._fetches.begin(need.wanted, (need.first, need.last), wait=False)
        except (MillstreamError, OSError):  # Busy, too: another process has it fetched
            self._came(need, None)
            return
        if isinstance(begun, Presence):
            self._came(need, self._fetches.hold(need.wanted, begun))
        else:
            begun.done.add_done_callback(partial(self._ended, need, begun))

    def _ended(self, need: Need, begun: OnItsWay, done: Future[Any]) -> None:
        there = done.exception() is None
        self._came(need, self._fetches.hold(need.wanted, begun) if there else None)

    def _came(self, need: Need, hold: Hold | None) -> None:
        with self._changed:
            self._coming -= 1
            if hold is None or self._closed or self._is_past(need):
                self._bytes -= need.wanted.size
                if hold is not None:
                    hold.close()
            else:
                entry = need.last, next(self._numbers), need.wanted.size, hold
                heapq.heappush(self._held, entry)
            self._changed.notify_all()


class Unheld:
    """Downloads of many small objects, none of which is held: each would take two descriptors.

    As they count until they are passed, in a quarter of the cache, others are evicted first, which
    were used before these came.
    """

    def __init__(self, downloads: Downloads) -> None:
        self._downloads = downloads

    def begin(self, wanted: Wanted, due: tuple[float, float], *, wait: bool) -> OnItsWay | Presence:
        """As that of Downloads."""
        return self._downloads.begin(wanted, due, wait=wait)

    def hold(self, wanted: Wanted, begun: OnItsWay | Presence) -> Hold:
        """Only counts it."""
        return self

    def skip(self, wanted: Wanted) -> None:
        """Nothing is to be done."""

    def close(self) -> None:
        """There is nothing to let go of."""


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
