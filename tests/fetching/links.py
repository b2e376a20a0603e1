"""A link without a network: a rate that requests share, on a clock that a test moves."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

from millstream.reading.fetching.gate import Gate


@dataclass
class Link:
    """Requests of one size. delay: seconds before the first byte; rate: bytes a second of all."""

    delay: float
    rate: float
    connection: float  # bytes a second that one of them reaches
    now: float = 0.0

    def clock(self) -> float:
        return self.now

    def seconds(self, nbytes: int, at_once: int) -> float:
        """How long a request takes when there are so many at once."""
        return self.delay + nbytes / min(self.connection, self.rate / at_once)


def run(gate: Gate, link: Link, requests: int, nbytes: int = 8 << 20) -> list[int]:
    """Lets so many requests through, as many at once as the gate says; the limits it had."""
    under_way: list[float] = []
    limits, left = [], requests
    while left or under_way:
        while left and len(under_way) < gate.limit:
            if not under_way:
                gate.begin()
            left -= 1
            heapq.heappush(under_way, link.now + link.seconds(nbytes, len(under_way) + 1))
        if left:
            gate.held_up()
        link.now = heapq.heappop(under_way)
        gate.came(nbytes)
        limits.append(gate.limit)
    return limits
