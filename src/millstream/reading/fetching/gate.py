"""How many requests may be under way at once: found by measuring, not configured.

More requests at once carry more bytes a second, up to what the link or the server gives; beyond
that they only wait for each other. So twice as many are tried, kept if that pays, and tried again
after a while if not. A server that refuses for a while, which costs waits, carries less: then the
number falls.
"""

from __future__ import annotations

from collections.abc import Callable

FIRST = 4
MOST = 64
# More bytes a second by this factor are worth twice the requests; fewer by this one are a loss.
GAIN, LOSS = 1.1, 0.7
# After a trial that did not pay, so many measures pass until the next.
REST = 8
# What came lately counts so much in what is usual.
NEWS = 0.3


class Gate:
    """The limit of requests at once; for one thread at a time.

    A measure is of twice as many requests as there may be at once, after as many that began under
    another limit. clock: seconds, from anywhere.
    """

    def __init__(self, clock: Callable[[], float], *, first: int = FIRST, most: int = MOST) -> None:
        self._clock, self._least, self._most = clock, first, most
        self.limit = self._kept = first
        self._usual = 0.0  # bytes a second under the limit that is kept
        self._rest = 0
        self.begin()

    def begin(self) -> None:
        """Measures from now on: an idle time before this is nobody's."""
        self._skip = 0
        self._start()

    def held_up(self) -> None:
        """A request has to wait for the limit."""
        self._full = True

    def came(self, nbytes: int) -> None:
        """A request has ended with so many bytes."""
        if self._skip:
            self._skip -= 1
            if not self._skip:
                self._start()
            return
        self._bytes += nbytes
        self._count += 1
        if self._count >= 2 * self.limit:
            before = self.limit
            self._judge(self._bytes / max(self._clock() - self._since, 1e-9), full=self._full)
            self._skip = self.limit if self.limit != before else 0
            self._start()

    def _start(self) -> None:
        self._since, self._bytes, self._count, self._full = self._clock(), 0, 0, False

    def _judge(self, rate: float, *, full: bool) -> None:
        if self.limit != self._kept:  # a trial
            if rate < GAIN * self._usual:
                self.limit, self._rest = self._kept, REST
                return
            self._usual = rate
        elif rate < LOSS * self._usual:
            self.limit = max(self._least, self.limit * 3 // 4)
            self._usual, self._rest = rate, 1
        else:
            self._usual += (rate - self._usual) * (NEWS if self._usual else 1)
            self._rest -= 1
        self._kept = self.limit
        # Where nobody had to wait the limit was not what held them up.
        if full and self._rest <= 0:
            self.limit = min(self._most, 2 * self.limit)
