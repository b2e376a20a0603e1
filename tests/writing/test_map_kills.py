"""A map that is killed goes on by input: what is done is not run again, nothing half-made stays."""

from __future__ import annotations

import json
import os
import random
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from buckets import Bucket
from datasets import everything
from kills import Life, live, tear
from scripts import start
from servers.faultproxy import FaultProxy
from servers.faults import LoseAnswer, Reset, slow_down

import millstream as ms
from millstream import errors
from millstream.writing import made, map_job

pytestmark = pytest.mark.timeout(200)

INPUTS = 8


class Calls:
    """The inputs that fn was called with in this process."""

    def __init__(self) -> None:
        self.made: list[int] = []


CALLS = Calls()


def fn(i: int, output_dir: str) -> None:
    """Two files, one of a name that is another each time; none for input 4."""
    CALLS.made.append(i)
    if i != 4:
        Path(output_dir, f"{i}-{uuid.uuid4().hex}").write_text("x" * 100 * i)
        (folder := Path(output_dir, "deep")).mkdir()
        (folder / f"{i}.txt").write_text(f"{i}")


def job(place: Any, **options: Any) -> Any:
    return ms.map(fn, range(INPUTS), place, num_workers=0, verbose=False, **options)


@pytest.fixture(autouse=True)
def two_inputs_a_task() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(map_job, "TASKS", INPUTS // 2)
        patch.setattr(made, "AT_ONCE", 1)
        yield


def seen(names: Any) -> list[str]:
    """What is there but for the notes; random names without what is random."""
    kept = [name for name in names if not name.startswith(".map-")]
    return sorted(name.partition("-")[0] for name in kept)


WHOLE = sorted(name for i in range(INPUTS) if i != 4 for name in (f"{i}", f"deep/{i}.txt"))


def finished(life: Life) -> set[int]:
    """The inputs whose folders have their names."""
    renamed = [Path(c.path) for c in life.done if c.event == "os.rename"]
    return {int(path.name) for path in renamed if path.parent.name == "segments"}


def test_killed_before_each_change_to_the_disk(tmp_path: Path) -> None:
    undisturbed = live(lambda: job(tmp_path / "0"), tmp_path)
    assert seen(everything(tmp_path / "0")) == WHOLE
    chance, some = random.Random(0), 0
    for number in range(1, len(undisturbed.changes) + 1):
        folder = tmp_path / f"{number}"
        life = live(lambda folder=folder: job(folder), tmp_path, number)  # type: ignore[misc]
        assert life.killed
        tear(life, chance)
        CALLS.made.clear()
        report = job(folder)
        assert sorted(CALLS.made) == sorted(set(range(INPUTS)) - finished(life))
        assert seen(everything(folder)) == WHOLE
        assert (report.files, report.inputs) == (len(WHOLE), INPUTS)
        notes = {path.name for place in folder.glob(".map-*") for path in place.iterdir()}
        assert notes == {"chunks", "inputs", "job.json", "lock", "there"}
        CALLS.made.clear()
        assert job(folder).already_done
        some += bool(finished(life))
    assert CALLS.made == []
    assert some > 20


def test_killed_twice(tmp_path: Path) -> None:
    for number in range(20, 80, 6):
        folder = tmp_path / f"{number}"
        for when in (number, number // 2):
            live(lambda folder=folder: job(folder), tmp_path, when)  # type: ignore[misc]
        job(folder)
        assert seen(everything(folder)) == WHOLE


# Buckets -----------------------------------------------------------------------------------------

# Dies right before its request of a number.
KILLED = """
    import itertools, json, os, signal, sys, tempfile, uuid
    from pathlib import Path
    import millstream as ms
    from millstream.store.cloud import CloudStore
    from millstream.writing import made, map_job

    url, options, number, take_over, tempfile.tempdir = json.loads(sys.argv[1])
    map_job.TASKS, made.AT_ONCE = 4, 1
    made, client = itertools.count(1), CloudStore._client

    def counted(self, *use):
        if next(made) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return client(self, *use)

    def fn(i, output_dir):
        print(i, flush=True)
        if i != 4:
            Path(output_dir, f"{i}-{uuid.uuid4().hex}").write_text("x" * 100 * i)
            (folder := Path(output_dir, "deep")).mkdir()
            (folder / f"{i}.txt").write_text(f"{i}")

    CloudStore._client = counted
    report = ms.map(
        fn, range(8), url, num_workers=0, storage_options=options, take_over=take_over,
        verbose=False,
    )
    print("done", report.already_done, flush=True)
"""


def life_in(bucket: Bucket, scratch: Path, number: int | None, *, take_over: bool) -> list[str]:
    """What a process says that runs the map until its request of a number."""
    call = [bucket.url, bucket.options, number, take_over, str(scratch)]
    process = start(KILLED, json.dumps(call))
    said, error = process.communicate()
    assert process.returncode == (0 if number is None else -signal.SIGKILL), error
    return said.split()


def test_killed_in_a_bucket_it_goes_on_here_or_there(bucket: Bucket, tmp_path: Path) -> None:
    half = 0
    for number in range(9, 36, 3):
        place = Bucket(f"{bucket.url}/{number}", bucket.options)
        here, there = tmp_path / f"here {number}", tmp_path / f"there {number}"
        here.mkdir()
        there.mkdir()
        first = life_in(place, here, number, take_over=False)
        left = place.objects()
        elsewhere = number % 2 == 1
        noted: list[int] = []
        for key, content in left.items():
            if "/chunks/" in key:
                for index, files in json.loads(content)["done"].items():
                    whole = [name in left and len(left[name]) == size for name, size in files]
                    noted += [int(index)] * all(whole)
                    half += elsewhere and any(whole) and not all(whole)
        again = life_in(place, there if elsewhere else here, None, take_over=elsewhere)
        calls = sorted(int(word) for word in again if word.isdigit())
        if elsewhere:
            assert calls == [i for i in range(INPUTS) if i not in noted]
        else:  # its last call may have been under way
            assert len(set(calls) & set(map(int, first))) <= 1
        assert seen(key for key in place.objects() if not key.startswith(".probe-")) == WHOLE
        assert life_in(place, there, None, take_over=False) == ["done", "True"]
        assert list(there.iterdir()) == []
    assert half


def test_a_bad_network_changes_nothing(proxied: Bucket, proxy: FaultProxy, scratch: Path) -> None:
    kinds = (slow_down, Reset, LoseAnswer)
    proxy.do(*(kind(skip=9 * n + 3 * k, times=1) for n in range(3) for k, kind in enumerate(kinds)))
    report = job(proxied.url, storage_options=proxied.options)
    assert set(proxy.tally().faults) == {"Status", "Reset", "LoseAnswer"}
    assert seen(proxied.objects()) == WHOLE
    assert report.files == len(WHOLE)
    assert list(scratch.iterdir()) == []


def test_the_local_disk_holds_the_inputs_under_way(bucket: Bucket, scratch: Path) -> None:
    most = [0]

    def big(i: int, output_dir: str) -> None:
        used = sum(path.stat().st_size for path in scratch.rglob("*") if path.is_file())
        most[0] = max(most[0], used)
        Path(output_dir, f"{i}").write_bytes(bytes(100_000))

    report = ms.map(
        big, range(40), bucket.url, num_workers=0, storage_options=bucket.options, verbose=False
    )
    assert report.bytes == 4_000_000
    assert most[0] < 1_100_000
    assert list(scratch.iterdir()) == []


def test_two_maps_at_once_of_one_job_are_refused(bucket: Bucket, scratch: Path) -> None:
    def twice(i: int, output_dir: str) -> None:
        if i == 1 and not os.path.exists(scratch / "once"):  # noqa: PTH110
            (scratch / "once").touch()
            with pytest.raises(errors.OutputBusy):
                ms.map(twice, range(3), bucket.url, storage_options=bucket.options, verbose=False)
        Path(output_dir, f"{i}").touch()

    options: dict[str, Any] = {"num_workers": 0, "verbose": False}
    report = ms.map(twice, range(3), bucket.url, storage_options=bucket.options, **options)
    assert report.files == 3
