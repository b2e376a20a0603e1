"""Calls that wait for the network, or the disk, side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def at_once(call: Callable[[T], R], values: Iterable[T], threads: int) -> list[R]:
    """What it gives for each, in their order; raises what the first one that failed raised."""
    with ThreadPoolExecutor(threads, thread_name_prefix="millstream-at-once") as pool:
        return list(pool.map(call, values))
