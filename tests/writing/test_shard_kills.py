"""Jobs in shards by processes that begin at once, and that are killed at anything they do."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from buckets import Bucket
from jobs import dataset
from kills import live, tree
from scripts import SOURCE

import millstream as ms
from millstream import errors
from millstream.writing import tasks

pytestmark = pytest.mark.timeout(200)


def commit(place: Any, **options: Any) -> Any:
    return ms.commit(place, **{"num_workers": 0, "verbose": False, **options})


SHARD = """
    import itertools, json, os, signal, sys
    import millstream as ms
    from millstream.store.cloud import CloudStore

    place, options, shard, number = json.loads(sys.stdin.read())
    made, client = itertools.count(1), CloudStore._client

    def counted(self, *use):
        if next(made) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return client(self, *use)

    CloudStore._client = counted
    print(ms.optimize(
        lambda i: {"id": i, "text": f"{i} " * (i * 37 % 90)}, range(120), place, num_workers=0,
        chunk_bytes="6KB", storage_options=options, shard=shard, verbose=False,
    ).samples)
"""


def begin(url: str, options: Any, shard: str, number: int | None = None) -> Any:
    """A process that does a shard, and dies right before its request of a number."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SHARD)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdin is not None
    process.stdin.write(json.dumps([url, options, shard, number]))
    return process


@pytest.mark.parametrize("where", ["bucket", "folder"])
def test_shards_that_begin_at_once(
    bucket: Bucket, tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Processes that know nothing of each other."""
    url, options = (bucket.url, bucket.options) if where == "bucket" else (str(tmp_path / "o"), {})
    monkeypatch.setenv("PYTHONPATH", SOURCE)
    started = [begin(url, options, f"{index}/4") for index in range(4)]
    said = [process.communicate()[0] for process in started]  # which ends what they are told
    assert [process.returncode for process in started] == [0] * 4
    assert sum(map(int, said)) == 120
    report = commit(url, storage_options=options)
    assert report.samples == 120
    whole = ms.StreamingDataset(url, storage_options=options)
    assert [row["id"] for row in whole[:]] == list(range(120))


def test_killed_at_any_change_to_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shard, the next one, and the commit: each killed somewhere and called again."""
    monkeypatch.setattr(tasks, "MAX_TASKS", 8)
    monkeypatch.setattr(tasks, "MAX_INPUTS", 2)

    def job(folder: Path, shard: str | None) -> None:
        def fn(i: int) -> Any:
            yield {"id": i, "text": f"{i} " * (40 + i % 5)}

        options = {"num_workers": 0, "chunk_bytes": "900B", "verbose": False}
        if shard is None:
            ms.commit(folder, num_workers=0, verbose=False)
        else:
            ms.optimize(fn, range(16), folder, shard=shard, **options)

    undisturbed = tmp_path / "undisturbed"
    steps = ["0/2", "1/2", "0/2", None]
    lives = [live(lambda s=step: job(undisturbed, s), undisturbed) for step in steps]
    whole = dataset(tree(undisturbed))
    counts = [len(life.changes) for life in lives]
    assert min(counts) > 3
    killed = 0
    for number in range(1, max(counts) + 1, 3):
        folder = tmp_path / f"{number}"
        for step in steps:
            killed += live(lambda s=step, f=folder: job(f, s), folder, number).killed
            assert not live(lambda s=step, f=folder: job(f, s), folder).killed
        assert dataset(tree(folder)) == whole, number
    # What a step has left to do depends on how far those before it came.
    assert killed >= sum(count // 3 for count in counts) - 4


def test_killed_at_a_request_to_a_bucket(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run again it needs no leave to take over; a commit does, as long as it is noted there."""
    monkeypatch.setenv("PYTHONPATH", SOURCE)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    whole: dict[str, bytes] = {}
    for number in (None, 12, 40, 90):
        place = Bucket(f"{bucket.url}/{number}", bucket.options)
        process = begin(place.url, place.options, "0/2", number)
        process.communicate()
        assert process.returncode == (0 if number is None else -signal.SIGKILL)
        if number in (12, 40, 90):
            with pytest.raises(errors.OutputBusy, match=f"process {process.pid}"):
                commit(place.url, storage_options=place.options)
        for index in range(2):
            process = begin(place.url, place.options, f"{index}/2")
            process.communicate()
            assert process.returncode == 0
        commit(place.url, storage_options=place.options)
        found = {k: v for k, v in place.objects().items() if not k.startswith(".probe-")}
        whole = whole or found
        assert found == whole
