"""How many requests may be under way at once: found by measuring, not configured.

More requests at once carry more bytes a second, up to what the link or the server gives; beyond
that they only wait for each other. So the number is raised as long as that pays. A server that
refuses for a while, which costs waits, carries less: then the number falls.
"""

from __future__ import annotations

from collections.abc import Callable

FIRST = 4
MOST = 64
# More bytes a second by this factor are worth more requests; fewer by this one are too many.
GAIN, LOSS = 1.05, 0.8
# What was best is forgotten by this factor a measure: a link may get better, or was lucky once.
FADE = 0.98


class Gate:
    """The limit of requests at once; for one thread at a time.

    clock: seconds, from anywhere.
    """

    def __init__(self, clock: Callable[[], float], *, first: int = FIRST, most: int = MOST) -> None:
        self._clock, self._least, self._most = clock, first, most
        self.limit = first
        self._best = 0.0
        self.begin()

    def begin(self) -> None:
        """Measures from now on: an idle time before this is nobody's."""
        self._since, self._bytes, self._count, self._full = self._clock(), 0, 0, False

    def held_up(self) -> None:
        """A request has to wait for the limit."""
        self._full = True

    def came(self, nbytes: int) -> None:
        """A request has ended with so many bytes."""
        self._bytes += nbytes
        self._count += 1
        if self._count >= self.limit:
            self._judge(self._bytes / max(self._clock() - self._since, 1e-9))
            self.begin()

    def _judge(self, rate: float) -> None:
        self._best *= FADE
        if rate > GAIN * self._best:
            self._best = rate
            # Where nobody had to wait the limit was not what held them up.
            if self._full:
                self.limit = min(self._most, self.limit + max(1, self.limit // 2))
        elif rate < LOSS * self._best:
            self.limit = max(self._least, self.limit * 3 // 4)
            self._best = (self._best + rate) / 2
