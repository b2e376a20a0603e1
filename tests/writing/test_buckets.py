"""Jobs in buckets: the bytes of a local run, one run at a time, bounded space, and no secrets."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from buckets import Bucket
from datasets import everything
from servers.faultproxy import FaultProxy
from servers.faults import LoseAnswer
from servers.http import HTTPServer

import millstream as ms
from millstream import errors
from millstream.store import LocalStore, Store, cloud, open_store
from millstream.store.cloud import CloudStore
from millstream.versions import load_version
from millstream.writing.bucket_job import BucketJob
from millstream.writing.commit import publish

pytestmark = pytest.mark.timeout(200)


def sample(i: int) -> dict[str, Any]:
    return {"id": i, "text": "x" * (i * 37 % 400), "odd": np.arange(i % 4)}


def write(place: Any, fn: Any = sample, inputs: Any = range(200), **options: Any) -> Any:
    options = {"num_workers": 0, "chunk_bytes": "8KB", "verbose": False, **options}
    return ms.optimize(fn, inputs, place, **options)


def to(bucket: Bucket, fn: Any = sample, inputs: Any = range(200), **options: Any) -> Any:
    return write(bucket.url, fn, inputs, storage_options=bucket.options, **options)


def local(folder: Path, *arguments: Any, **options: Any) -> dict[str, bytes]:
    write(folder, *arguments, **options)
    return {k: v for k, v in everything(folder).items() if not k.startswith("runs/")}


# The same bytes --------------------------------------------------------------------------------


@pytest.mark.parametrize(("scheme", "workers"), [("s3", 0), ("s3", 2), ("gs", 0), ("az", 2)])
def test_the_bytes_are_those_of_a_local_run(
    of_service: Callable[[str], Bucket], scratch: Path, tmp_path: Path, scheme: str, workers: int
) -> None:
    bucket = of_service(scheme)
    report = to(bucket, num_workers=workers)
    assert (report.place, report.samples, report.already_done) == (bucket.url, 200, False)
    assert bucket.objects() == local(tmp_path / "d")
    assert list(scratch.iterdir()) == []
    record = [info.key for info in bucket.store.list("runs/")]
    assert json.loads(bucket.store.get(record[0]))["report"]["samples"] == 200
    again = to(bucket, num_workers=workers)
    assert (again.samples, again.chunks, again.already_done) == (200, report.chunks, True)
    dataset = ms.StreamingDataset(
        bucket.url, storage_options=bucket.options, cache_dir=tmp_path / "cache"
    )
    assert [s["id"] for s in dataset] == list(range(200))


def test_memory_is_a_bucket_too(scratch: Path, tmp_path: Path, prefix: str) -> None:
    write(f"memory://{prefix}")
    assert Bucket(f"memory://{prefix}", {}).objects() == local(tmp_path / "d")
    with pytest.raises(errors.NotPicklable, match="num_workers=0"):
        write(f"memory://{prefix}-2", num_workers=2)
    assert list(scratch.iterdir()) == []


def test_a_large_chunk_goes_up_in_parts(
    proxied: Bucket,
    proxy: FaultProxy,
    scratch: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cloud, "PART_BYTES", 5 << 20)  # the least that S3 takes
    data = np.random.default_rng(0).bytes(4 << 20)
    options = {"chunk_size": 3, "chunk_bytes": None, "inputs": range(4)}
    to(proxied, lambda i: data, **options)
    parts = [r.query for r in proxy.tally().log if r.method == "PUT" and "partNumber" in r.query]
    assert len(parts) == 3
    monkeypatch.undo()
    assert proxied.objects() == local(tmp_path / "d", lambda i: data, **options)


def test_skipped_inputs_are_reported_whoever_skipped_them(bucket: Bucket, scratch: Path) -> None:
    stop = scratch / "stop"
    stop.touch()

    def fn(i: int) -> dict[str, Any]:
        if i == 150 and stop.exists():
            raise KeyboardInterrupt
        if i % 10 == 3:
            raise ValueError(f"not {i}")
        return sample(i)

    with pytest.raises(KeyboardInterrupt):
        to(bucket, fn, on_error="skip")
    stop.unlink()
    report = to(bucket, fn, on_error="skip")
    assert [some.input for some in report.skipped] == list(range(3, 200, 10))
    assert report.samples == 180


# What lies there, and who else is there --------------------------------------------------------


def test_a_place_that_holds_something_is_refused(bucket: Bucket, scratch: Path) -> None:
    bucket.store.put("notes/a.txt", b"mine")
    with pytest.raises(errors.OutputNotEmpty, match="it holds notes"):
        to(bucket)
    assert bucket.objects() == {"notes/a.txt": b"mine"}
    # What only begins alike is another place.
    to(Bucket(f"{bucket.url}/not", bucket.options))
    assert list(scratch.iterdir()) == []


def test_another_job_is_refused_and_named(bucket: Bucket, scratch: Path) -> None:
    def fn(i: int) -> int:
        return 1 // (150 - i)

    with pytest.raises(errors.FunctionError):
        to(bucket, fn)
    before = bucket.objects()
    assert ".job/job.json" in before
    assert ".job/owner" not in before
    for other, changed in (({"inputs": range(201)}, "the inputs"), ({"chunk_size": 9}, "chunk_si")):
        with pytest.raises(errors.OutputNotEmpty, match=changed):
            to(bucket, fn, **other)
    assert bucket.objects() == before
    finished = Bucket(f"{bucket.url}-2", bucket.options)
    to(finished)
    with pytest.raises(errors.OutputNotEmpty, match="finished dataset of 200 samples by"):
        to(finished, inputs=range(201))
    assert list(scratch.iterdir()) == []


def test_a_refused_call_leaves_alone_what_an_unfinished_one_has(
    bucket: Bucket, scratch: Path
) -> None:
    def fn(i: int) -> int:
        if i == 100:
            raise KeyboardInterrupt
        return i

    with pytest.raises(KeyboardInterrupt):
        to(bucket, fn)
    before = everything(scratch)
    assert any("segments" in name for name in before)
    with pytest.raises(errors.OutputNotEmpty):
        to(bucket, fn, inputs=range(201))
    assert everything(scratch) == before


def claimed(bucket: Bucket) -> dict[str, Any]:
    found = json.loads(bucket.store.get(".job/owner"))
    assert isinstance(found, dict)
    return found


def test_two_runs_at_once_are_refused(bucket: Bucket, scratch: Path) -> None:
    """The second one on this machine, and one on another, which has another scratch folder."""
    said: list[str] = []

    def fn(i: int) -> int:
        if i == 2:
            for place in (scratch, scratch / "other"):
                place.mkdir(exist_ok=True)
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr("tempfile.tempdir", str(place))
                    with pytest.raises(errors.OutputBusy) as caught:
                        to(bucket, fn, range(5))
                said.append(str(caught.value))
            said.append(f"process {claimed(bucket)['pid']} on {claimed(bucket)['host']} since")
        return i

    assert to(bucket, fn, range(5)).samples == 5
    here, there, who = said
    assert "another process of this machine" in here
    assert who in there
    assert "take_over=True" in there
    (scratch / "other").rmdir()
    assert list(scratch.iterdir()) == []


class Seen:
    """Reports; in the eyes of a job nothing but an object of this class."""

    def __init__(self) -> None:
        self.reports: list[Any] = []


def test_a_run_that_was_taken_over_harms_nothing(
    bucket: Bucket, scratch: Path, tmp_path: Path
) -> None:
    """The other one finishes first; this one finds its own bytes published."""
    other = tmp_path / "other"
    other.mkdir()
    seen = Seen()

    def fn(i: int) -> dict[str, Any]:
        if i == 120 and not (tmp_path / "once").exists():
            (tmp_path / "once").touch()
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("tempfile.tempdir", str(other))
                seen.reports.append(to(bucket, fn, take_over=True))
        return sample(i)

    report = to(bucket, fn)
    assert [r.already_done for r in (*seen.reports, report)] == [False, True]
    assert bucket.objects() == local(tmp_path / "d", fn)
    assert list(other.iterdir()) == list(scratch.iterdir()) == []


def test_a_scratch_folder_of_somebody_else_is_not_used(bucket: Bucket, scratch: Path) -> None:
    def fn(i: int) -> int:
        (folder,) = scratch.iterdir()
        assert folder.stat().st_mode & 0o777 == 0o700
        return i

    to(bucket, fn, range(3))
    # The name is known now; somebody makes it first, and lets everyone write there.
    from millstream.writing.bucket_job import scratch_folder

    scratch_folder(f"{bucket.url}-2").chmod(0o777)
    with pytest.raises(errors.StorageError, match="not a folder of this user alone"):
        to(Bucket(f"{bucket.url}-2", bucket.options))


def test_segments_of_an_earlier_job_are_not_taken_for_this_one_s(
    bucket: Bucket, scratch: Path, tmp_path: Path
) -> None:
    """Stopped here, given up, and another job begun elsewhere, which then goes on here."""
    stop = tmp_path / "stop"
    stop.touch()

    def job(text: str) -> Any:
        def fn(i: int) -> str:
            if i == 100 and stop.exists():
                raise KeyboardInterrupt
            return f"{text} {i}"

        return fn

    with pytest.raises(KeyboardInterrupt):
        to(bucket, job("first"), chunk_bytes="1MB")
    assert any("segments" in path.parts for path in scratch.rglob("*"))
    for info in bucket.store.list(""):
        bucket.store.delete(info.key)
    with pytest.MonkeyPatch.context() as patch, suppress(KeyboardInterrupt):
        (tmp_path / "other").mkdir()
        patch.setattr("tempfile.tempdir", str(tmp_path / "other"))
        to(bucket, job("second"), chunk_bytes="1MB")
    stop.unlink()
    to(bucket, job("second"), chunk_bytes="1MB")
    assert bucket.objects() == local(tmp_path / "d", job("second"), chunk_bytes="1MB")


# Publishing ------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["s3", "gs", "az"])
@pytest.mark.parametrize("equal", [False, True])
def test_of_eight_writers_one_wins_unless_all_are_right(
    of_service: Callable[[str], Bucket], tmp_path: Path, scheme: str, equal: bool
) -> None:
    manifests = []
    for n in range(8):
        write(tmp_path / f"{n}", lambda i: i, range(10 if equal else 10 + n))
        manifests.append(load_version(LocalStore(tmp_path / f"{n}")).manifest)
    bucket = of_service(scheme)

    def one(n: int) -> bool | None:
        try:
            return publish(bucket.store, manifests[n])
        except errors.OutputNotEmpty:
            return None

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(one, range(8)))
    assert results.count(None) == (0 if equal else 7)
    assert results.count(True) == 1
    winner = manifests[results.index(True)]
    assert bucket.store.get("versions/000000000001") == winner.to_bytes()


def test_a_lost_answer_to_the_manifest_is_settled_by_reading_back(
    proxied: Bucket, proxy: FaultProxy, scratch: Path, tmp_path: Path
) -> None:
    proxy.do(LoseAnswer(method="PUT", path="versions/000000000001(?!.json)", times=1))
    report = to(proxied)
    assert report.already_done is False
    assert proxy.tally().faults == {"LoseAnswer": 1}
    assert proxied.objects() == local(tmp_path / "d")


def test_a_server_that_ignores_conditions_is_refused(
    bucket: Bucket, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def put(self: CloudStore, key: str, content: bytes) -> bool:
        self.put(key, content)
        return True

    monkeypatch.setattr(CloudStore, "put_if_absent", put)
    with pytest.raises(errors.UnsupportedError, match="two writers"):
        to(bucket, lambda i: pytest.fail("no work is done"))
    assert bucket.objects() == {}
    assert list(scratch.iterdir()) == []


def test_what_can_only_be_read_says_so_before_any_work(tmp_path: Path, scratch: Path) -> None:
    with HTTPServer(tmp_path) as server:
        for url in (f"{server.url}/x", "hf://datasets/org/name/x"):
            with pytest.raises(errors.UnsupportedError, match="can only be read"):
                write(url, lambda i: pytest.fail("no work is done"))
        assert server.tally().requests == 0


# Secrets and space -----------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 2])
def test_credentials_are_written_down_nowhere(
    bucket: Bucket, scratch: Path, workers: int, tmp_path: Path
) -> None:
    def fn(i: int) -> int:
        return 1 // (150 - i)

    secret = bucket.options["aws_secret_access_key"].encode()
    with pytest.raises(errors.FunctionError) as caught:
        to(bucket, fn, num_workers=workers)
    said = "".join(traceback.format_exception(caught.value)).encode()
    unfinished = bucket.objects()
    other = Bucket(f"{bucket.url}-2", bucket.options)
    to(other, num_workers=workers)
    store = other.store
    written = [*unfinished.values(), *(store.get(info.key) for info in store.list(""))]
    assert ".job/job.json" in unfinished
    assert not any(secret in content for content in [said, *written])


def test_the_local_disk_holds_what_is_not_yet_in_chunks(bucket: Bucket, scratch: Path) -> None:
    used: list[int] = []

    def fn(i: int) -> bytes:
        used.append(sum(p.stat().st_size for p in scratch.rglob("*") if p.is_file()))
        return bytes([i % 251]) * 1_000

    report = to(bucket, fn, range(1_000), chunk_bytes="20KB")
    assert report.bytes > 1_000_000
    assert max(used) < 50_000  # a chunk, and the segments of the one that is being filled


class Late:
    """An executor that does the first task last, and all others at once."""

    workers, apart = 1, False

    def __init__(self) -> None:
        self.before = 0

    @contextmanager
    def open(self, work: Callable[[Any], Any]) -> Iterator[Any]:
        from millstream.execution.protocol import Outcome

        waiting: dict[int, Any] = {}

        class Session:
            @property
            def free(self) -> int:
                return 4 - len(waiting)

            def submit(self, tag: int, task: Any) -> None:
                waiting[tag] = task

            def wait(inner) -> Outcome[Any]:  # noqa: N805
                tag = max(waiting) if 1 in waiting else min(waiting)
                if tag == 1 and not self.before:
                    self.before = done[0]
                done[0] += 1
                return Outcome(tag=tag, value=work(waiting.pop(tag)))

        done = [0]
        yield Session()


@pytest.mark.parametrize(
    ("limit", "apart", "most"), [(200_000, False, 26), (200_000, True, 199), (1 << 60, False, 199)]
)
def test_nothing_runs_ahead_of_a_slow_input_without_bound(
    scratch: Path, prefix: str, monkeypatch: pytest.MonkeyPatch, limit: int, apart: bool, most: int
) -> None:
    """What counts is what is kept here: on the disk, or of segments in the bucket the outlines."""
    late = Late()
    late.apart = apart
    monkeypatch.setattr(BucketJob, "waiting_bytes", limit)
    report = write(f"memory://{prefix}", lambda i: b"x" * 10_000, range(200), executor=late)
    assert report.samples == 200
    assert most - 6 <= late.before <= most


def test_a_store_is_what_it_was(bucket: Bucket, scratch: Path) -> None:
    """No object is left beside the dataset."""
    to(bucket)
    store: Store = open_store(bucket.url, bucket.options)
    tops = {info.key.partition("/")[0] for info in store.list("")}
    assert tops == {"chunks", "latest", "runs", "versions"}
