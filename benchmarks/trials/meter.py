"""Wall and CPU seconds of a block, and how much of the machine others took meanwhile."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import psutil

LONG_ENOUGH = 0.2  # seconds: the kernel counts CPU time by the hundredth


class Meter:
    """Measures a `with` block; figures() afterwards.

    CPU seconds are those of this process, its descendants, and the descendants that have ended
    and were waited for.
    """

    other_cpu: float | None

    def __enter__(self) -> Self:
        self._busy, self._cpu = busy_seconds(), tree_seconds()
        self._began = time.perf_counter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.wall = time.perf_counter() - self._began
        self.cpu = tree_seconds() - self._cpu
        others = (busy_seconds() - self._busy - self.cpu) / self.wall / (os.cpu_count() or 1)
        self.other_cpu = min(max(0.0, others), 1.0) if self.wall > LONG_ENOUGH else None

    def figures(self, items: int) -> dict[str, Any]:
        """other_cpu: the part of all cores. items: what the CPU time is divided by.

        What is too short for the kernel's clock is None.
        """
        known = self.wall > LONG_ENOUGH
        return {
            "seconds": self.wall,
            "cpu_seconds": self.cpu,
            "cpu_us": 1e6 * self.cpu / items if known else None,
            "other_cpu": self.other_cpu,
        }


def tree_seconds() -> float:
    """CPU seconds of this process and all that descend from it."""
    me = psutil.Process()
    total = 0.0
    for process in [me, *me.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            total += sum(process.cpu_times()[:4])  # user, system, and both of ended children
    return total


def busy_seconds() -> float:
    """CPU seconds that the machine has been busy with anything."""
    times = psutil.cpu_times()
    return sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0)
