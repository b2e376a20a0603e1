"""What one driver has to do for 64 machines of 32 workers each and 400 million inputs.

The driver is the real one: it hands tasks out, reads outlines, cuts chunks, has segments removed,
builds the manifest and publishes it. Only what machines and the bucket would do is made up. A
worker hands back the outline of a segment that was once really encoded, or the record of a chunk;
the store keeps what it is asked for again, and counts. Time passes for the workers alone: their
tasks take about as long as each other (lognormal), a chunk a small part of that, so it shows how
long they wait for one another. Seconds are without the network, and without what Ray takes for a
task, which ray_efficiency.py measures.

A fresh process is the driver; another one goes on with the job as it is when all chunks are there.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from fleet import Fleet
from machine import machine
from millstream.format.keys import version_key
from millstream.store import MemoryStore
from millstream.writing.dataset_job import DatasetJob
from millstream.writing.fetch import InputFetcher
from millstream.writing.filtering import Filtering
from millstream.writing.gather import Room
from millstream.writing.identity import job_key
from millstream.writing.knobs import prepare
from millstream.writing.limits import limits_of
from millstream.writing.segments import BucketSegments
from millstream.writing.tasks import MAX_INPUTS, tasks
from millstream.writing.temporary import RunTemporary
from millstream.writing.work import EncodeTask, Work
from plan_scale import peak_mb
from simulated_bucket import SimulatedBucket

MACHINES, WORKERS = 64, 32
INPUTS = 400_000_000
CHUNK_BYTES = 64_000_000
SETTINGS = {"on_error": "raise", "allow_pickle": False, "batched": False}


def fn_of(nbytes: int) -> Any:
    """A function whose samples have about so many bytes."""

    def sample(index: int) -> dict[str, Any]:
        size = random.Random(index).randrange(nbytes // 2, nbytes * 3 // 2)
        return {"id": index, "data": bytes(size)}

    return sample


def outline_of(nbytes: int, inputs: int, folder: Path) -> bytes:
    """The outline that a worker hands back of so many inputs, from a segment that it has made."""

    class Nowhere(MemoryStore):
        def put_file(self, key: str, path: Any) -> None:
            pass

    temporary = RunTemporary(folder)
    work = Work(
        fn=fn_of(nbytes),
        chunks=None,  # type: ignore[arg-type]  # no chunk is built
        segments=BucketSegments(Nowhere("memory://"), "segments/", temporary, Room()),
        fetcher=InputFetcher({}),
        temporary=temporary,
        skip_errors=False,
        allow_pickle=False,
        batched=False,
        room=Room(),
    )
    outline = work(EncodeTask(number=0, start=0, inputs=range(inputs)))
    assert isinstance(outline, bytes)
    return outline


def drive(folder: Path, inputs: int, nbytes: int) -> dict[str, Any]:
    """Runs the job, or goes on with what an earlier process left in the folder; all figures."""
    outlines = {int(path.name): path.read_bytes() for path in (folder / "outlines").iterdir()}
    bucket = SimulatedBucket(folder)
    fleet = Fleet(MACHINES * WORKERS, outlines, bucket)
    prepared = prepare(
        fn_of(nbytes),
        range(inputs),
        weights=None,
        batch_size=None,
        fast_dev_run=False,
        input_dir=None,
        reader=None,
    )
    job = DatasetJob(
        prepared=prepared,
        store=bucket,
        fetcher=InputFetcher({}),
        take_over=True,
        key=job_key(prepared.fn, prepared.inputs, {**SETTINGS, "chunk_bytes": CHUNK_BYTES}),
        tasks=list(tasks(inputs)),
        limits=limits_of(CHUNK_BYTES, None, has_tokens=False),
        filtering=Filtering.asked(None, None, has_tokens=False),
        executor=fleet,
        verbose=False,
    )
    before, began, cpu = peak_mb(), time.perf_counter(), time.process_time()
    report = job.run()
    ended, cpu = time.perf_counter(), time.process_time() - cpu
    apart = fleet.spent.cpu + bucket.spent.cpu
    return {
        "tasks": fleet.tasks,
        "chunks": report.chunks,
        "rows": report.samples,
        "data_tb": report.bytes / 1e12,
        "driver_cpu_s": cpu - apart,
        "driver_cpu_ms_a_task": 1e3 * (cpu - apart) / max(1, fleet.tasks),
        "wait_share": fleet.idle_share(),
        "begin_s": fleet.opened_at - began,
        "commit_s": bucket.published_at - fleet.closed_at,
        "tidy_s": ended - bucket.published_at,
        "peak_mb": peak_mb(),
        "peak_mb_before": before,
        "manifest_bytes": bucket.sizes[version_key(1)],
        "job_json_bytes": bucket.sizes[".job/job.json"],
        "inputs_bytes": bucket.sizes[".job/inputs"],
        "most_segments": bucket.most_segments,
        "driver_calls": dict(bucket.calls),
        "machine_calls": dict(fleet.calls),
    }


def simulated(inputs: int, nbytes: int) -> dict[str, Any]:
    """The figures of a whole job, and of one that finds all chunks there."""
    with tempfile.TemporaryDirectory(prefix="cluster-scale-") as name:
        folder = Path(name)
        (folder / "outlines").mkdir()
        for count in {min(inputs, MAX_INPUTS), inputs % MAX_INPUTS} - {0}:
            content = outline_of(nbytes, count, folder)
            (folder / "outlines" / str(count)).write_bytes(content)
        call = [sys.executable, __file__, "--here", name, str(inputs), str(nbytes)]
        here = {**os.environ, "TMPDIR": name}  # where jobs work
        runs = [
            json.loads(subprocess.run(call, check=True, stdout=subprocess.PIPE, env=here).stdout)
            for _ in ("whole", "resumed")
        ]
    return {"inputs": inputs, "sample_bytes": nbytes, "whole": runs[0], "resumed": runs[1]}


def shown(value: Any) -> str:
    """For people."""
    if isinstance(value, dict):
        return ", ".join(f"{kind}: {count:,}" for kind, count in sorted(value.items()))
    return f"{value:,}" if isinstance(value, int) else f"{value:,.3f}"


def main() -> None:
    """Prints what is assumed, and the figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--inputs", type=int, default=INPUTS)
    parser.add_argument("--sample-bytes", type=int, default=2_000)
    parser.add_argument("--here", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        folder, inputs, nbytes = options.here
        print(json.dumps(drive(Path(folder), int(inputs), int(nbytes))))
        return
    print(
        f"{MACHINES} machines of {WORKERS} workers, {options.inputs:,} inputs, one sample each of"
    )
    print(
        f"{options.sample_bytes / 2:,.0f} to {options.sample_bytes * 1.5:,.0f} bytes and a number;"
    )
    print(f"chunks of {CHUNK_BYTES:,} bytes, inputs=range(...), output in a bucket.")
    print("No network, no Ray, no time for what machines do.\n")
    found = {"machine": machine(), **simulated(options.inputs, options.sample_bytes)}
    for run in ("whole", "resumed"):
        print(f"The job, {run}:")
        for name, value in found[run].items():
            print(f"    {name:22} {shown(value)}")
    print(f"\n{json.dumps(found)}")


if __name__ == "__main__":
    main()
