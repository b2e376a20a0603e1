"""What a Ray cluster makes of the cores: raylets of one CPU each against this process alone.

Tasks of about 50 ms of Python, the same ones for all; rates without the start of workers, each
round in turns. Raylets share the cores of this machine, so efficiency is against as many as there
are of both. And what a task costs by itself: functions that do nothing, one at a time.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from machine import machine
from millstream.execution.inline import Inline
from millstream.execution.protocol import Executor, Session
from millstream.execution.ray import RayExecutor

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from ray_cluster import ray_cluster

RAYLETS = (1, 2, 4)
TASK_SECONDS = 0.05
IDLE = 0  # steps of a task that does nothing


def work(steps: int) -> tuple[int, float]:
    """So many steps of Python: who did them, and the CPU seconds they took."""
    began, total = time.process_time(), 0
    for number in range(steps):
        total += number * number % 7
    return os.getpid(), time.process_time() - began


def steps_of_a_task() -> int:
    """How many take TASK_SECONDS here."""
    tried = 100_000
    return int(tried * TASK_SECONDS / min(work(tried)[1] for _ in range(20)))


def drain(session: Session[tuple[int, float]], steps: int, tasks: int) -> list[tuple[int, float]]:
    """Has so many equal tasks done."""
    given, done = 0, []
    while len(done) < tasks:
        while given < tasks and session.free:
            session.submit(given, steps)
            given += 1
        done.append(session.wait().result())
    return done


def wait_for(session: Session[tuple[int, float]], workers: int) -> None:
    """Returns when so many workers have done something."""
    seen: set[int] = set()
    while len(seen) < workers:
        seen |= {pid for pid, _ in drain(session, 10_000, 4 * workers)}


def trial(executor: Executor, workers: int, steps: int, tasks: int) -> dict[str, float]:
    """Tasks a second, CPU milliseconds a task, and milliseconds of an empty one."""
    with executor.open(work) as session:
        wait_for(session, workers)
        began = time.perf_counter()
        done = drain(session, steps, tasks)
        rate = tasks / (time.perf_counter() - began)
        began = time.perf_counter()
        for _ in range(tasks):
            drain(session, IDLE, 1)
        empty = (time.perf_counter() - began) / tasks
    cpu = statistics.mean(seconds for _, seconds in done)
    return {"rate": rate, "cpu_ms": 1e3 * cpu, "empty_ms": 1e3 * empty}


def measured(tasks: int, rounds: int) -> dict[str, list[dict[str, float]]]:
    """All trials: of this process, and of clusters of each size."""
    steps, found = steps_of_a_task(), defaultdict(list)
    for _ in range(rounds):
        with ray_cluster(0) as cluster:
            have = 0
            for raylets in RAYLETS:
                while have < raylets:
                    cluster.add()
                    have += 1
                found["inline"].append(trial(Inline(), 1, steps, tasks))
                executor = RayExecutor(address=cluster.address)
                found[f"{raylets} of a CPU each"].append(trial(executor, raylets, steps, tasks))
    return found


def summary(found: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """Medians, and efficiencies."""
    cores = os.cpu_count() or 1
    rows: dict[str, Any] = {}
    for name, trials in found.items():
        row = {key: statistics.median(trial[key] for trial in trials) for key in trials[0]}
        if name != "inline":
            usable = min(int(name.split()[0]), cores)
            row["efficiency"] = row["rate"] / (usable * rows["inline"]["rate"])
        rows[name] = {key: round(value, 3) for key, value in row.items()}
    return {"machine": machine(), "cores": cores, "rows": rows}


def main() -> None:
    """Prints a table, and the same as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    result = summary(measured(arguments.tasks, arguments.rounds))
    cores = result["cores"]
    print(f"{cores} cores, which the raylets share; efficiency is against min(raylets, {cores})\n")
    print("| executor | tasks a second | efficiency | CPU ms a task | ms an empty task |")
    print("|---|---|---|---|---|")
    for name, row in result["rows"].items():
        efficiency = f"{row['efficiency']:.0%}" if "efficiency" in row else ""
        print(
            f"| {name} | {row['rate']:.2f} | {efficiency} | {row['cpu_ms']:.1f} "
            f"| {row['empty_ms']:.2f} |"
        )
    print(f"\n{json.dumps(result)}")


if __name__ == "__main__":
    main()
