"""Jobs in buckets that are killed at any request, lose their machine, or meet a bad network."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from buckets import Bucket
from datasets import everything
from scripts import SOURCE
from servers.faultproxy import FaultProxy
from servers.faults import LoseAnswer, Reset, slow_down

import millstream as ms
from millstream import errors

pytestmark = pytest.mark.timeout(200)

INPUTS = 14
# Forks a child for each line it reads, which dies right before a request of its job: a process
# that has used the network must not be forked, so the test's own cannot do it.
JOBS = """
    import itertools, json, os, signal, sys
    import millstream as ms
    from millstream.execution.inline import Inline
    from millstream.store.cloud import CloudStore
    from millstream.writing import tasks

    tasks.MAX_TASKS = 7

    def fn(i):
        os.write(int(os.environ["CALLS"]), b"%d " % i)
        if i == 8:
            raise ValueError("this one is skipped")
        for n in range(0 if i in (4, 5) else 1 + i % 2):
            yield {"id": i, "n": n, "text": f"{i}" * (50 * (i % 5 + 1))}

    class Apart(Inline):
        apart = True

    def job(place, options, take_over, mode, apart):
        return ms.optimize(
            fn, range(14), place, num_workers=0, chunk_bytes="1700B", on_error="skip",
            storage_options=options, take_over=take_over, verbose=False, mode=mode,
            executor=Apart() if apart else None,
        )

    def count_requests(number):
        made = itertools.count(1)  # threads share it
        client = CloudStore._client
        def counted(self, *use):
            os.write(int(os.environ["CALLS"]), b"+")
            if next(made) == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return client(self, *use)
        CloudStore._client = counted

    for line in sys.stdin:
        place, options, number, scratch, take_over, mode, apart = json.loads(line)
        reader, writer = os.pipe()
        pid = os.fork()
        if not pid:
            os.environ["CALLS"] = str(writer)
            os.environ["TMPDIR"] = scratch
            count_requests(number)
            code = 1
            try:
                report = job(place, options, take_over, mode, apart)
                os.write(writer, b"r%d " % len(report.skipped))
                code = 0
            finally:
                os._exit(code)
        os.close(writer)
        told = b"".join(iter(lambda: os.read(reader, 65536), b""))
        os.close(reader)
        _, status = os.waitpid(pid, 0)
        print(json.dumps([os.waitstatus_to_exitcode(status), told.decode()]), flush=True)
"""


class Life:
    """How a run of the job ended. code: -9 for a kill."""

    def __init__(self, code: int, told: str) -> None:
        self.code = code
        self.requests = told.count("+")
        words = told.replace("+", " ").split()
        self.calls = [int(word) for word in words if word.isdigit()]
        self.skipped = [int(word[1:]) for word in words if word.startswith("r")]


Live = Callable[..., Life]


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    """Runs the job at a place, until its request of a number (None: to its end)."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(JOBS)],
        env={**os.environ, "PYTHONPATH": SOURCE},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None

    def call(
        place: Bucket,
        scratch: Path,
        number: int | None = None,
        *,
        take_over: bool = False,
        mode: str | None = None,
        apart: bool = False,
    ) -> Life:
        call = [place.url, place.options, number, str(scratch), take_over, mode, apart]
        line = json.dumps(call)
        process.stdin.write(line + "\n")  # type: ignore[union-attr]
        process.stdin.flush()  # type: ignore[union-attr]
        return Life(*json.loads(process.stdout.readline()))  # type: ignore[union-attr]

    yield call
    process.stdin.close()
    process.wait()
    process.stdout.close()


def below(bucket: Bucket, name: object) -> Bucket:
    return Bucket(f"{bucket.url}/{name}", bucket.options)


def left(bucket: Bucket) -> dict[str, bytes]:
    """All objects but for a probe of a killed run, which only prune may know to be one."""
    return {k: v for k, v in bucket.objects().items() if not k.startswith(".probe-")}


def needed(bucket: Bucket) -> list[int]:
    """The inputs that a machine with nothing but the bucket has to call fn with."""
    if list(bucket.store.list("runs/")):  # the last thing but for tidying up
        return []
    objects = bucket.objects()
    chunk, task = 0, 0
    while record := objects.get(f".job/chunks/{chunk:06}.json"):
        placed = json.loads(record)
        if f"chunks/{placed['chunk']['digest']}" not in objects:
            break  # it is written before its chunk, and counts once that is there
        chunk, task = chunk + 1, placed["stop"][0]
    return list(range(2 * task, INPUTS))


@pytest.fixture
def whole(live: Live, bucket: Bucket, tmp_path: Path) -> dict[str, bytes]:
    """What an undisturbed run leaves, and that it needs some requests for it."""
    life = live(below(bucket, "whole"), tmp_path)
    assert (life.code, life.calls, life.skipped) == (0, list(range(INPUTS)), [1])
    objects = below(bucket, "whole").objects()
    assert sum(key.startswith("chunks/") for key in objects) >= 4
    return objects


def test_killed_at_each_request_it_goes_on(
    live: Live, bucket: Bucket, whole: dict[str, bytes], tmp_path: Path
) -> None:
    """On the same machine no input is done twice; on another only what is not in chunks is."""
    requests = live(below(bucket, "again"), tmp_path).requests
    assert requests > 25
    # Publishing and tidying up at every request; before that one looks like another.
    for number in [*range(1, requests - 16, 3), *range(requests - 16, requests + 1)]:
        place, here, there = below(bucket, number), tmp_path / "here", tmp_path / "there"
        here.mkdir()
        there.mkdir()
        first = live(place, here, number)
        assert first.code == -9
        if number % 2:
            second = live(place, here)
            assert sorted(first.calls + second.calls) == list(range(INPUTS)), number
        else:
            missing = needed(place)
            second = live(place, there, take_over=True)
            assert second.calls == missing, number
        assert (second.code, second.skipped) == (0, [1])
        assert left(place) == whole
        assert list(there.iterdir()) == []
        assert number % 2 == 0 or list(here.iterdir()) == []
        shutil.rmtree(here)
        there.rmdir()


def test_killed_at_each_request_it_goes_on_elsewhere_with_what_lies_in_the_bucket(
    live: Live, bucket: Bucket, whole: dict[str, bytes], tmp_path: Path
) -> None:
    """Workers on several machines leave segments there: no input of these is done again."""
    requests = live(below(bucket, "again"), tmp_path, apart=True).requests
    assert below(bucket, "again").objects() == whole
    assert requests > 50
    kept = 0
    for number in [*range(1, requests - 20, 5), *range(requests - 20, requests + 1, 2)]:
        place = below(bucket, number)
        assert live(place, tmp_path, number, apart=True).code == -9
        outlines = [key for key in place.objects() if key.endswith("/outline")]
        there = {int(key.split("/")[-2]) for key in outlines}
        missing = [i for i in needed(place) if i // 2 not in there]
        kept += len(there)
        second = live(place, tmp_path, take_over=True, apart=True)
        assert second.calls == missing, number
        assert (second.code, second.skipped) == (0, [1])
        assert left(place) == whole
    assert kept > 10


@pytest.mark.parametrize("mode", ["append", "overwrite"])
def test_a_version_killed_at_each_request_is_there_or_not(
    live: Live, bucket: Bucket, tmp_path: Path, mode: str
) -> None:
    """The old one until the new one is published, which is whole then; run again, it is there."""

    def begin(name: object) -> Bucket:
        place = below(bucket, name)
        assert live(place, tmp_path).code == 0
        return place

    def versions(place: Bucket) -> set[str]:
        return {key for key in place.objects() if re.fullmatch("versions/[0-9]{12}", key)}

    undisturbed = begin("whole")
    requests = live(undisturbed, tmp_path, mode=mode).requests
    whole = undisturbed.objects()
    assert requests > 25
    published = 0
    for number in [*range(3, requests - 14, 9), *range(requests - 14, requests + 1, 2)]:
        place = begin(number)
        before = place.objects()
        assert live(place, tmp_path, number, mode=mode).code == -9
        after = place.objects()
        assert {k: after[k] for k in before if k != "latest"} == {
            k: c for k, c in before.items() if k != "latest"
        }
        published += len(versions(place)) == 2
        assert live(place, tmp_path, mode=mode).code == 0
        assert left(place) == whole
        assert list(tmp_path.iterdir()) == []
    assert published >= 4


def test_killed_twice_here_and_there(
    live: Live, bucket: Bucket, whole: dict[str, bytes], tmp_path: Path
) -> None:
    for number in range(8, 40, 7):
        place = below(bucket, number)
        scratches = [tmp_path / f"{number}-{n}" for n in range(3)]
        for scratch in scratches:
            scratch.mkdir()
        assert live(place, scratches[0], number).code == -9
        live(place, scratches[1], number // 2 + 8, take_over=True)
        # The first machine is no longer the one that is noted.
        objects = place.objects()
        if ".job/owner" in objects:
            assert live(place, scratches[0]).code == 1
            assert place.objects() == objects
        assert live(place, scratches[2], take_over=True).code == 0
        assert left(place) == whole


def test_a_machine_that_is_gone_is_named(live: Live, bucket: Bucket, tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    assert live(bucket, here, 20).code == -9
    claim = json.loads(bucket.store.get(".job/owner"))
    with pytest.raises(errors.OutputBusy) as caught:
        ms.optimize(
            str, range(3), bucket.url, storage_options=bucket.options, num_workers=0, verbose=False
        )
    assert f"process {claim['pid']} on {claim['host']} since {claim['since']}" in str(caught.value)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_worker_that_is_killed_in_an_upload_loses_nothing(
    bucket: Bucket, scratch: Path, tmp_path: Path, when: str
) -> None:
    plan = tmp_path / "plan"
    plan.touch()

    def fn(i: int) -> dict[str, Any]:
        # In the worker: its next upload ends with its death, right before it or right after.
        import signal

        from millstream.store.cloud import CloudStore

        put_file = CloudStore.put_file

        def put(self: CloudStore, key: str, path: Any) -> None:
            try:
                plan.rename(plan.with_suffix(".taken"))
            except FileNotFoundError:
                put_file(self, key, path)
                return
            if when == "after":
                put_file(self, key, path)
            os.kill(os.getpid(), signal.SIGKILL)

        if plan.exists():
            CloudStore.put_file = put  # type: ignore[method-assign]
        return {"id": i, "text": "x" * (i * 37 % 400)}

    options: dict[str, Any] = {"chunk_bytes": "8KB", "verbose": False}
    report = ms.optimize(
        fn, range(100), bucket.url, num_workers=2, storage_options=bucket.options, **options
    )
    assert plan.with_suffix(".taken").exists()
    assert report.samples == 100
    ms.optimize(fn, range(100), tmp_path / "d", num_workers=0, **options)
    local = everything(tmp_path / "d")
    assert bucket.objects() == {k: v for k, v in local.items() if not k.startswith("runs/")}
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("workers", [0, 2])
def test_a_bad_network_changes_nothing(
    proxied: Bucket, proxy: FaultProxy, scratch: Path, tmp_path: Path, workers: int
) -> None:
    def fn(i: int) -> dict[str, Any]:
        return {"id": i, "text": "x" * (i * 37 % 400)}

    kinds = (slow_down, Reset, LoseAnswer)
    proxy.do(
        *(kind(skip=20 * n + 7 * k, times=1) for n in range(10) for k, kind in enumerate(kinds))
    )
    options: dict[str, Any] = {"chunk_bytes": "3KB", "verbose": False}
    to = {"storage_options": proxied.options}
    ms.optimize(fn, range(300), proxied.url, num_workers=workers, **to, **options)
    faults = proxy.tally().faults
    assert set(faults) == {"Status", "Reset", "LoseAnswer"}
    assert min(faults.values()) >= 3
    proxy.do()
    ms.optimize(fn, range(300), tmp_path / "d", num_workers=0, **options)
    local = everything(tmp_path / "d")
    assert proxied.objects() == {k: v for k, v in local.items() if not k.startswith("runs/")}
    assert list(scratch.iterdir()) == []
