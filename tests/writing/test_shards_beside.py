"""Shards beside jobs that are no shards: of a first version one job is made, and no other."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from buckets import Bucket
from datasets import everything
from encryption.kinds import fernet

import millstream as ms
from millstream import errors
from millstream.writing.claim import claim
from millstream.writing.folder import job_place
from millstream.writing.prune import prune
from millstream.writing.scratch import lock_folder

pytestmark = pytest.mark.timeout(200)


def write(place: Any, fn: Any, **options: Any) -> Any:
    given = {"num_workers": 0, "chunk_size": 10, "verbose": False, **options}
    return ms.optimize(fn, range(30), place, **given)


def commit(place: Any, **options: Any) -> Any:
    return ms.commit(place, **{"num_workers": 0, "verbose": False, **options})


def number(i: int) -> int:
    return i


def other(i: int) -> str:
    return f"{i}"


def stopping(stop: Path) -> Any:
    def fn(i: int) -> int:
        if i == 15 and stop.exists():
            raise ValueError("no")
        return i

    return fn


@pytest.mark.parametrize("where", ["bucket", "folder"])
def test_an_unfinished_job_without_shards_is_not_passed_by(
    bucket: Bucket, scratch: Path, tmp_path: Path, where: str
) -> None:
    far = {"storage_options": bucket.options} if where == "bucket" else {}
    out: Any = bucket.url if far else tmp_path / "out"
    (stop := tmp_path / "stop").touch()
    fn = stopping(stop)
    with pytest.raises(errors.FunctionError):
        write(out, fn, **far)
    stop.unlink()
    with pytest.raises(errors.OutputNotEmpty, match=r"differs from this one in: the function"):
        write(out, other, shard="0/2", **far)
    with pytest.raises(errors.OutputNotEmpty, match="this same job, unfinished and begun without"):
        write(out, fn, shard="0/2", **far)
    with pytest.raises(errors.UsageError, match="no job that is run in shards"):
        commit(out, **far)
    assert write(out, fn, **far).samples == 30


@pytest.mark.parametrize("where", ["bucket", "folder"])
def test_what_runs_keeps_others_away(
    bucket: Bucket, scratch: Path, tmp_path: Path, where: str
) -> None:
    far = {"storage_options": bucket.options} if where == "bucket" else {}
    out: Any = bucket.url if far else tmp_path / "out"
    tried = []

    def without(i: int) -> int:
        if i == 0:
            tried.append(i)
            with pytest.raises(errors.OutputBusy):
                write(out, other, shard="0/2", **far)
            if where == "bucket":  # the same call on this machine finds its own scratch folder
                with pytest.raises(errors.OutputBusy):
                    write(out, other, **far)
        return i

    def shard(i: int) -> int:
        if i == 0:
            tried.append(i)
            for mode in ("append", "overwrite"):  # which would be the first version
                with pytest.raises(errors.OutputBusy):
                    write(out, other, mode=mode, **far)
        return i

    write(out, without, **far)
    elsewhere: Any = f"{out}/2" if far else tmp_path / "2"
    out = elsewhere
    write(out, shard, shard="0/1", **far)
    assert len(tried) == 2
    assert commit(out, **far).samples == 30


def test_an_append_that_was_begun_without_shards_goes_on_without(tmp_path: Path) -> None:
    write(tmp_path / "out", number)
    (stop := tmp_path / "stop").touch()
    fn = stopping(stop)
    with pytest.raises(errors.FunctionError):
        write(tmp_path / "out", fn, mode="append")
    stop.unlink()
    with pytest.raises(errors.UsageError, match="was begun without shards"):
        write(tmp_path / "out", fn, mode="append", shard="0/2")
    assert write(tmp_path / "out", fn, mode="append").total == 60


def test_refused_it_leaves_nothing(tmp_path: Path) -> None:
    (stop := tmp_path / "stop").touch()
    with pytest.raises(errors.FunctionError):
        write(tmp_path / "out", stopping(stop))
    before = everything(tmp_path / "out")
    with pytest.raises(errors.OutputNotEmpty):
        write(tmp_path / "out", other, shard="0/2")
    assert everything(tmp_path / "out") == before


def test_who_knows_that_the_commit_is_gone_may_run_a_shard_again(
    bucket: Bucket, scratch: Path, tmp_path: Path
) -> None:
    far = {"storage_options": bucket.options}
    write(bucket.url, number, shard="0/2", **far)
    (name,) = [n for n in job_place(bucket.store).names() if n.startswith(".job-")]
    (folder := tmp_path / "elsewhere").mkdir()
    other_machine = lock_folder(folder)
    assert other_machine is not None
    claim(bucket.store, f"{name}/owner", other_machine, take_over=False)
    other_machine.close()
    with pytest.raises(errors.OutputBusy, match="take_over=True"):
        write(bucket.url, number, shard="1/2", **far)
    write(bucket.url, number, shard="1/2", take_over=True, **far)
    assert commit(bucket.url, take_over=True, **far).samples == 30
    assert not any(key.startswith(".job") for key in bucket.objects())


@pytest.mark.parametrize("at", [1, 28])
def test_a_shard_that_was_taken_for_dead_goes_on_after_the_commit(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """What it leaves is believed by nobody, is in nobody's way, and goes with the next call."""
    far = {"storage_options": bucket.options, "encryption": fernet()}
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    here.mkdir()

    def fn(i: int) -> int:
        if i == at and not elsewhere.exists():
            elsewhere.mkdir()
            monkeypatch.setattr(tempfile, "tempdir", str(elsewhere))
            for index in range(2):
                write(bucket.url, fn, shard=f"{index}/2", **far)
            commit(bucket.url, **far)
            monkeypatch.setattr(tempfile, "tempdir", str(here))
        return i

    monkeypatch.setattr(tempfile, "tempdir", str(here))
    write(bucket.url, fn, shard=f"{at % 2}/2", **far)
    assert any(key.startswith(".job-") for key in bucket.objects())
    prune(bucket.store, keep=1, older_than=0, now=time.time() + 60)
    write(bucket.url, number, mode="append", **far)
    assert commit(bucket.url, **far).already_done
    assert not any(key.startswith(".job") for key in bucket.objects())
    assert ms.StreamingDataset(bucket.url, **far)[:] == [*range(30), *range(30)]
    assert list(here.iterdir()) == []
