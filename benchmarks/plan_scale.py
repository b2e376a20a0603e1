"""How long a plan of 1e9 rows in 1e6 chunks takes to build and to ask, and how much memory.

A fresh process measures. Extra memory is what the selection, the order and an epoch need beyond
the interpreter, numpy and the sizes of the chunks. Times of many calls are medians.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from millstream.plan import Order, Plan, Selection, permute

CHUNKS, MEAN_ROWS, BATCH, RANKS = 1_000_000, 1_000, 512, 8


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


def uneven_chunks() -> npt.NDArray[np.int64]:
    """Rows of chunks, 1 to 1,999; in place, since a peak here would hide what the plan needs."""
    rows = np.arange(CHUNKS, dtype=np.int64)
    rows *= 997
    rows %= 2 * MEAN_ROWS - 1
    rows += 1
    return rows


def make_plan(chunk_rows: npt.NDArray[np.int64]) -> Plan:
    """An epoch, and its first batch asked for."""
    order = Order(
        chunk_rows=chunk_rows,
        selection=Selection.whole(chunk_rows),
        seed=1,
        shuffle=True,
        window=65_536,
        lanes=16,
    )
    plan = Plan(epoch=order.epoch(3), batch_size=BATCH, ranks=RANKS, drop_last=True)
    plan.batch(0, 0)
    return plan


def permute_ns(size: int) -> float:
    """For an index, if all elements of one permutation are asked for."""
    index, sizes, keys = np.arange(size), np.full(size, size), np.full(size, 7, np.uint64)
    return median_ms(lambda _: permute(index, sizes, keys)) * 1e6 / size


def measure() -> dict[str, float]:
    """All figures, of this process."""
    chunk_rows = uneven_chunks()
    before, began = peak_mb(), time.perf_counter()
    plan = make_plan(chunk_rows)
    built, memory = time.perf_counter() - began, peak_mb() - before
    steps = np.linspace(0, plan.steps - 1, 200, dtype=np.int64).tolist()
    rows = np.linspace(0, plan.epoch.length - 1, 200, dtype=np.int64).tolist()
    return {
        "rows": plan.epoch.length,
        "chunks": CHUNKS,
        "build_s": round(built, 3),
        "extra_peak_mb": round(memory, 1),
        "first_when_ms": round(median_ms(lambda n: plan.when(rows[n]), 1), 3),
        "when_ms": round(median_ms(lambda n: plan.when(rows[n])), 3),
        "step_of_512_ms": round(median_ms(lambda n: plan.batch(steps[n], n % RANKS)), 3),
        "extra_peak_after_all_mb": round(peak_mb() - before, 1),
        "permute_ns_an_index": round(permute_ns(65_536), 1),
        # No power of two: one element in four has to walk on.
        "permute_50000_ns_an_index": round(permute_ns(50_000), 1),
    }


def main() -> None:
    """Prints a line a figure, or JSON."""
    parser = argparse.ArgumentParser(description="What a plan of 1e9 rows costs.")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--here", action="store_true", help="measure in this process, print JSON")
    options = parser.parse_args()
    if options.here:
        print(json.dumps(measure()))
        return
    fresh = [sys.executable, __file__, "--here"]
    output = subprocess.run(fresh, check=True, stdout=subprocess.PIPE, text=True).stdout
    if options.json:
        print(output, end="")
        return
    for name, value in json.loads(output).items():
        print(f"{name:26} {value:>15,}")


if __name__ == "__main__":
    main()
