"""Runs the workloads with every library, side by side: `make bench`, `make bench-full`.

Each trial is a process of its own. The libraries take turns, A B C A B C, so that what else the
machine does meets all of them. Results go to out/results-FORM.json, as they come.

    python benchmarks/run.py --form quick --only W2,W6 --peers ours,plain --repetitions 3
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import data
from machine import machine
from peers import PEERS, Peer, peer
from process import run_trial
from s3 import Remote
from workloads import SCALES, WRITERS, Scale, Step, Workload, chosen

TIMEOUT = {"quick": 120.0, "full": 900.0}
TELL = {"rate": "{:,.0f} a second", "cpu_us": "{:,.2f} us CPU each", "other_cpu": "others {:.0%}"}


class Bench:
    """The trials of one run. place: where the libraries' data lies. report: the file to write."""

    def __init__(self, scale: Scale, place: Path, report: Path, remote: Remote) -> None:
        self._scale, self._place, self._report, self._remote = scale, place, report, remote
        self._offers: dict[str, Sequence[str]] = {}
        self.found: dict[str, Any] = {
            "machine": machine(),
            "form": scale.name,
            "began": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
            "versions": {},
            "missing": {},
            "not_offered": {},
            "workloads": [],
            "trials": [],
        }

    def survey(self, peers: Sequence[Peer]) -> None:
        """Asks every library for its version and what its driver offers."""
        for one in peers:
            told = self._in_process(one, {"peer": one.name, "survey": True}, "survey")
            if "failed" in told:
                self.found["missing"][one.name] = told["failed"]
                print(f"{one.name}: {told['failed']}", flush=True)
            else:
                self._offers[one.name] = told["methods"]
                self.found["versions"][one.name] = told["version"]

    def measure(self, workload: Workload, repetitions: int) -> None:
        """All repetitions of a workload, the libraries in turns."""
        print(f"\n{workload.name}: {workload.title}", flush=True)
        self.found["workloads"].append(workload.name)
        method = workload.step.method
        takes_part = [peer(name) for name, offer in self._offers.items() if method in offer]
        self.found["not_offered"][workload.name] = [
            name for name, offer in self._offers.items() if method not in offer
        ]
        for repetition in range(repetitions):
            for one in list(takes_part):
                result = self._trial(one, workload)
                head = {"workload": workload.name, "peer": one.name, "repetition": repetition}
                self.found["trials"].append({**head, **result})
                self._save()
                print(f"  {one.name:20} {told(workload, result)}", flush=True)
                if "failed" in result or "skipped" in result:
                    takes_part.remove(one)

    def _trial(self, one: Peer, workload: Workload) -> dict[str, Any]:
        """What has to be there first, and then what is measured."""
        if not workload.writes and not self._data(one, workload.kind).exists():
            writer = peer(one.reads or one.name)
            made = self._step(writer, workload, WRITERS[workload.kind])
            if "rate" not in made:
                return {"failed": f"no data: {made}"}
        if workload.remote:
            self._remote.upload(self._data(one, workload.kind), self._prefix(one))
        if workload.name == "W4-cold" or workload.remote == "proxy":
            shutil.rmtree(self._cache(one), ignore_errors=True)
        # A cache that an earlier trial has left will do.
        if workload.before and not (workload.remote and self._cache(one).exists()):
            before = self._step(one, workload, workload.before)
            if "failed" in before or "skipped" in before:
                return before
        if workload.remote == "proxy":
            with self._remote.counted() as count:
                result = self._step(one, workload, workload.step)
            return {**result, **count.figures(result.get("row_bytes", 0))}
        return self._step(one, workload, workload.step)

    def _step(self, one: Peer, workload: Workload, step: Step) -> dict[str, Any]:
        order = {
            "peer": one.name,
            "scale": self._scale.name,
            "run": step.run,
            "method": step.method,
            "workers": step.workers,
            "chunks": step.chunks,
            "place": str(self._data(one, workload.kind)),
            "state": str(self._place / f"state-{one.data}.pickle"),
        }
        if workload.remote and step.run.startswith(("streaming:remote", "lookup:remote")):
            bucket = self._remote.bucket(proxied=workload.remote == "proxy")
            order |= {"bucket": bucket, "prefix": self._prefix(one)}
            order |= {"cache": str(self._cache(one))}
        return self._in_process(one, order, f"{workload.name}-{one.name}")

    def _in_process(self, one: Peer, order: dict[str, Any], name: str) -> dict[str, Any]:
        log = self._place / "logs" / f"{name}.log"
        return run_trial(one.environment, order, log, TIMEOUT[self._scale.name])

    def _data(self, one: Peer, kind: str) -> Path:
        return self._place / one.data / kind

    def _prefix(self, one: Peer) -> str:
        return f"{one.data}/images"

    def _cache(self, one: Peer) -> Path:
        return self._place / "cache" / one.name

    def _save(self) -> None:
        self._report.write_text(json.dumps(self.found, indent=1))


def told(workload: Workload, result: dict[str, Any]) -> str:
    """A line about one trial."""
    for name in ("failed", "skipped"):
        if name in result:
            return f"{name}: {result[name]}"
    names = dict.fromkeys((workload.figure, *workload.others, "other_cpu"))
    parts = []
    for name in names:
        value = result.get(name)
        if value is not None:
            form = TELL.get(name, "{:,.3f}" if abs(value) < 10 else "{:,.0f}")
            parts.append((form if name in TELL else f"{name} {form}").format(value))
    return "  ".join(parts)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--form", choices=SCALES, default="quick")
    parser.add_argument("--only", default="", help="workloads, as W2,W6; all by default")
    parser.add_argument("--peers", default="", help="libraries, as ours,plain; all by default")
    parser.add_argument("--repetitions", type=int, default=0)
    parser.add_argument("--report", type=Path, help="the JSON file to write")
    return parser.parse_args()


def main() -> None:
    # Being ended goes the way of Ctrl-C, which ends the trial and the server.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    given = arguments()
    scale = SCALES[given.form]
    peers = [peer(name) for name in given.peers.split(",") if name]
    peers = peers or [one for one in PEERS if one.short or scale.name != "quick"]
    workloads = chosen(given.only, scale)
    print("data: photographs and tokens, made once", file=sys.stderr, flush=True)
    data.photos(scale.images)
    data.token_file(scale.tokens)
    place = data.OUT / scale.name
    place.mkdir(parents=True, exist_ok=True)
    report = given.report or data.OUT / f"results-{scale.name}.json"
    with ExitStack() as stack:
        remote = stack.enter_context(Remote())
        bench = Bench(scale, place, report, remote)
        bench.survey(peers)
        for workload in workloads:
            bench.measure(workload, given.repetitions or scale.repetitions)
        shutil.rmtree(place / "cache", ignore_errors=True)
    print(f"\nall trials are in {report}")


if __name__ == "__main__":
    main()
