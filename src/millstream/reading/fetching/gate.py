"""How many requests may be under way at once: found by measuring, not configured.

More requests at once carry more bytes a second, up to what the link or the server gives; beyond
that they only wait for each other. So the number is raised as long as that pays.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

FIRST = 4
MOST = 64
# More bytes a second by this factor are worth more requests; fewer by this one are too many.
GAIN, LOSS = 1.05, 0.8


class Gate:
    """Lets so many requests through at a time.

    clock: seconds, from anywhere.
    """

    def __init__(self, clock: Callable[[], float], *, first: int = FIRST, most: int = MOST) -> None:
        self._clock, self._most, self._least = clock, most, first
        self.limit = first
        self._under_way = 0
        self._changed = threading.Condition()
        self._best = 0.0
        self._since, self._bytes, self._count = clock(), 0, 0
        self._waited = False

    @contextmanager
    def request(self) -> Iterator[Callable[[int], None]]:
        """Waits for its turn; gives a function to be told how many bytes came."""
        with self._changed:
            while self._under_way >= self.limit:
                self._waited = True
                self._changed.wait()
            if not self._under_way:
                self._begin()  # an idle time before this is nobody's measure
            self._under_way += 1
        try:
            yield self._came
        finally:
            with self._changed:
                self._under_way -= 1
                self._changed.notify_all()

    def _begin(self) -> None:
        self._since, self._bytes, self._count, self._waited = self._clock(), 0, 0, False

    def _came(self, nbytes: int) -> None:
        with self._changed:
            self._bytes += nbytes
            self._count += 1
            if self._count >= 2 * self.limit:
                self._judge(self._bytes / max(self._clock() - self._since, 1e-9))
                self._begin()

    def _judge(self, rate: float) -> None:
        if rate > GAIN * self._best:
            self._best = rate
            # Where nobody had to wait the limit was not what held them up.
            grown = self.limit + max(1, self.limit // 2) if self._waited else self.limit
            self.limit = min(self._most, grown)
        elif rate < LOSS * self._best:
            self.limit = max(self._least, self.limit * 3 // 4)
            self._best = (self._best + rate) / 2  # the link may have become another one
