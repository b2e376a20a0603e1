"""Wall and CPU seconds of a block, and how much of the machine others took meanwhile."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import psutil


class Meter:
    """Measures a `with` block; figures() afterwards.

    CPU seconds are those of this process, its descendants, and the descendants that have ended
    and were waited for.
    """

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
        others = busy_seconds() - self._busy - self.cpu
        self.other_cpu = max(0.0, others / self.wall / (os.cpu_count() or 1))

    def figures(self, items: int) -> dict[str, Any]:
        """other_cpu: the part of all cores. items: what the CPU time is divided by."""
        return {
            "seconds": self.wall,
            "cpu_seconds": self.cpu,
            "cpu_us": 1e6 * self.cpu / items,
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
