"""Append and overwrite in buckets: the bytes of a local run, and several writers at once."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from buckets import Bucket
from datasets import everything
from scripts import start
from servers.faultproxy import FaultProxy
from servers.faults import LoseAnswer

import millstream as ms
from millstream import errors
from millstream.versions import load_version

pytestmark = pytest.mark.timeout(200)

WRITER = """
    import json, sys, tempfile
    import millstream as ms
    from millstream.errors import MillstreamError

    place, options, mode, first, tempfile.tempdir = json.loads(sys.argv[1])

    def fn(i):
        if i == first:
            print("begun", flush=True)
            sys.stdin.readline()
        return {"id": i, "text": f"{i}" * 100}

    try:
        report = ms.optimize(
            fn, range(first, first + 20), place, mode=mode, chunk_size=7, num_workers=0,
            storage_options=options, verbose=False,
        )
        print("version", report.version, flush=True)
    except MillstreamError as error:
        print(type(error).__name__, flush=True)
"""


def sample(i: int) -> dict[str, Any]:
    return {"id": i, "text": f"{i}" * 100}


def job(place: Any, rows: Any, mode: Any = None, fn: Any = sample, **options: Any) -> Any:
    options = {"chunk_size": 7, "num_workers": 0, "verbose": False, **options}
    return ms.optimize(fn, rows, place, mode=mode, **options)


def to(bucket: Bucket, *arguments: Any) -> Any:
    return job(bucket.url, *arguments, storage_options=bucket.options)


def ids(bucket: Bucket, cache: Path, version: int | None = None) -> list[int]:
    dataset = ms.StreamingDataset(
        bucket.url, storage_options=bucket.options, cache_dir=cache, version=version
    )
    return [sample["id"] for sample in dataset]


@pytest.mark.parametrize("scheme", ["s3", "gs", "az"])
def test_the_bytes_are_those_of_a_local_run(
    of_service: Callable[[str], Bucket], scratch: Path, tmp_path: Path, scheme: str
) -> None:
    bucket = of_service(scheme)
    calls = [(range(30), None), (range(30, 40), "append"), (range(5), "overwrite")]
    for rows, mode in calls:
        assert to(bucket, rows, mode).already_done is False
        job(tmp_path / "d", rows, mode)
    assert to(bucket, *calls[-1]).already_done
    assert bucket.objects() == {
        name: content
        for name, content in everything(tmp_path / "d").items()
        if not name.startswith("runs/")
    }
    cache = tmp_path / "cache"
    assert [len(ids(bucket, cache, n)) for n in (1, 2, 3)] == [30, 40, 5]
    assert list(scratch.iterdir()) == []


def at_once(bucket: Bucket, scratch: Path, mode: str, firsts: list[int]) -> list[str]:
    """What processes say that publish at the same time."""
    lines = [
        json.dumps([bucket.url, bucket.options, mode, first, str(scratch)]) for first in firsts
    ]
    processes = [start(WRITER, line, stdin=subprocess.PIPE) for line in lines]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "begun\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        return [process.communicate()[0].strip() for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()


@pytest.mark.parametrize("scheme", ["s3", "gs", "az"])
def test_appends_at_once_all_succeed(
    of_service: Callable[[str], Bucket], scratch: Path, tmp_path: Path, scheme: str
) -> None:
    bucket = of_service(scheme)
    to(bucket, range(10))
    firsts = [100, 200, 300, 400]
    said = at_once(bucket, scratch, "append", firsts)
    numbers = [int(line.removeprefix("version ")) for line in said]
    assert sorted(numbers) == [2, 3, 4, 5]
    in_order = [first for _, first in sorted(zip(numbers, firsts, strict=True))]
    expected = [*range(10), *(i for first in in_order for i in range(first, first + 20))]
    assert ids(bucket, tmp_path / "cache") == expected
    tops = {info.key.partition("/")[0] for info in bucket.store.list("")}
    assert tops == {"chunks", "latest", "runs", "versions"}


@pytest.mark.parametrize("scheme", ["s3", "gs", "az"])
def test_of_overwrites_at_once_one_wins(
    of_service: Callable[[str], Bucket], scratch: Path, tmp_path: Path, scheme: str
) -> None:
    bucket = of_service(scheme)
    to(bucket, range(10))
    said = at_once(bucket, scratch, "overwrite", [100, 200, 300])
    assert sorted(said) == ["OutputNotEmpty", "OutputNotEmpty", "version 2"]
    first = 100 * (1 + said.index("version 2"))
    assert ids(bucket, tmp_path / "cache") == list(range(first, first + 20))


def test_a_lost_answer_to_the_manifest_is_no_lost_race(
    proxied: Bucket, proxy: FaultProxy, scratch: Path, tmp_path: Path
) -> None:
    to(proxied, range(10))
    for number, mode in ((2, "append"), (3, "overwrite")):
        fault = LoseAnswer(method="PUT", path=f"versions/{number:012}(?!.json)", times=1)
        proxy.do(fault)
        report = to(proxied, range(20, 24), mode)
        assert (report.version, report.already_done) == (number, False)
    assert proxy.tally().faults == {"LoseAnswer": 2}
    assert ids(proxied, tmp_path / "cache", 2) == [*range(10), *range(20, 24)]
    assert ids(proxied, tmp_path / "cache") == list(range(20, 24))
    assert load_version(proxied.store).manifest.version == 3


def test_a_job_that_was_stopped_is_named_and_one_that_runs_is_not_in_the_way(
    bucket: Bucket, scratch: Path, tmp_path: Path
) -> None:
    to(bucket, range(10))
    stop = tmp_path / "stop"
    stop.touch()

    def fn(i: int) -> dict[str, Any]:
        if i == 12 and stop.exists():
            assert to(bucket, range(50, 53), "append").version == 2
            raise ValueError("stop here")
        return sample(i)

    with pytest.raises(errors.FunctionError):
        to(bucket, range(10, 20), "append", fn)
    with pytest.raises(errors.OutputNotEmpty, match=r"unfinished job.* or remove .*/\.job-"):
        to(bucket, range(60, 63), "append")
    stop.unlink()
    to(bucket, range(10, 20), "append", fn)
    assert ids(bucket, tmp_path / "cache") == [*range(10), *range(50, 53), *range(10, 20)]
    assert list(scratch.iterdir()) == []
