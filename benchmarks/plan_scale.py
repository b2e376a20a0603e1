"""How long a plan of 1e9 rows in 1e6 chunks takes to build and to ask, and how much memory."""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np

from millstream.plan import Order, Plan, Selection, permute

CHUNKS, ROWS, BATCH = 1_000_000, 1_000_000_000, 512


def peak_mb() -> float:
    """The most memory this process ever had, in MB; the kernel counts in KiB, macOS in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def median_ms(ask: Callable[[int], object], times: int = 200) -> float:
    """The median of many calls, in milliseconds."""
    seconds = []
    for number in range(times):
        began = time.perf_counter()
        ask(number)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds) * 1e3


def measure() -> dict[str, float]:
    """All figures, in one process."""
    rng = np.random.default_rng(0)
    chunk_rows = rng.multinomial(ROWS, np.full(CHUNKS, 1 / CHUNKS)).astype(np.int64)
    permute(np.arange(100), np.int64(100), np.uint64(1))
    before, began = peak_mb(), time.perf_counter()
    order = Order(
        chunk_rows=chunk_rows,
        selection=Selection.whole(chunk_rows),
        seed=1,
        shuffle=True,
        window=65_536,
        lanes=16,
    )
    plan = Plan(epoch=order.epoch(3), batch_size=BATCH, ranks=8, drop_last=True)
    plan.batch(0, 0)
    built, memory = time.perf_counter() - began, peak_mb() - before
    index = rng.integers(0, 65_536, 1_000_000)
    began = time.perf_counter()
    permute(index, np.int64(65_536), np.uint64(7))
    nanoseconds = (time.perf_counter() - began) * 1e9 / len(index)
    rows = rng.integers(0, ROWS, 200)
    first_when = median_ms(lambda n: plan.when(int(rows[n])), 1)
    return {
        "rows": ROWS,
        "chunks": CHUNKS,
        "build_s": round(built, 3),
        "extra_peak_mb": round(memory, 1),
        "step_of_512_ms": round(median_ms(lambda n: plan.batch(n * 1000, n % 8)), 3),
        "first_when_ms": round(first_when, 3),
        "when_ms": round(median_ms(lambda n: plan.when(int(rows[n]))), 3),
        "permute_ns_an_index": round(nanoseconds, 1),
    }


def main() -> None:
    """Prints a line a figure, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    figures = measure()
    if parser.parse_args().json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        print(f"{name:22} {value:>15,}")


if __name__ == "__main__":
    main()
