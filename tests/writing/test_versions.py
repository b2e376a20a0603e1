"""Append and overwrite: what the newest version holds, what old ones keep, and lost races."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from datasets import everything, make, write
from hypothesis import given, settings
from hypothesis import strategies as st

import millstream as ms
from millstream import errors
from millstream.reading.verify import check_bytes, check_parent
from millstream.store import LocalStore
from millstream.versions import load_version, newest_version
from millstream.writing.prune import prune

LATER = 10**12  # a clock that makes everything old


def job(
    folder: Path, rows: Any, mode: Any = None, fn: Callable[[int], Any] = make, **options: Any
) -> Any:
    options = {"chunk_size": 3, "num_workers": 0, "verbose": False, **options}
    return ms.optimize(fn, rows, folder, mode=mode, **options)


def ids(folder: Path, version: int | None = None) -> list[int]:
    return [sample["id"] for sample in ms.StreamingDataset(folder, version=version)]


def is_whole(store: LocalStore) -> bool:
    """Whether every version can be read to the last byte, and follows the one before it."""
    newest = load_version(store).manifest.version
    versions = [load_version(store, number) for number in range(1, newest + 1)]
    checked = [c for v in versions for c in check_bytes(store, v.manifest, threads=1)]
    return not any(c.findings for c in checked) and not any(
        check_parent(store, v) for v in versions
    )


# The newest version, and those before it ---------------------------------------------------------

# Few, so that calls are made again.
steps = st.tuples(
    st.sampled_from(["append", "overwrite"]), st.integers(0, 1), st.sampled_from([1, 4])
)


@settings(max_examples=40)
@given(calls=st.lists(steps, min_size=1, max_size=6))
def test_each_call_gives_the_version_it_promises(
    tmp_path_factory: pytest.TempPathFactory, calls: list[tuple[str, int, int]]
) -> None:
    """An append gives the rows of the newest version and its own, unless these are there; an
    overwrite its own alone. No other version changes."""
    folder = tmp_path_factory.mktemp("law") / "d"
    jobs: list[tuple[str, range]] = []  # those whose rows are in the newest version, in order
    told: list[list[int]] = []  # the rows of each version
    for mode, start, count in calls:
        rows = range(100 * start, 100 * start + count)
        this = (mode, rows)
        there = this in jobs if mode == "append" else jobs == [this]
        report = job(folder, rows, mode)
        assert report.already_done == there
        assert (report.samples, report.chunks) == (count, -(-count // 3))
        if not there:
            jobs = [*jobs, this] if mode == "append" else [this]
            told.append([row for _, some in jobs for row in some])
            assert (report.version, report.total) == (len(told), len(told[-1]))
    assert [ids(folder, n) for n in range(1, len(told) + 1)] == told
    assert ids(folder) == told[-1]
    assert is_whole(LocalStore(folder))
    assert {path.name for path in folder.iterdir()} == {"chunks", "latest", "runs", "versions"}
    shutil.rmtree(folder.parent)


def test_a_script_may_be_run_again(tmp_path: Path) -> None:
    for again in (False, True):
        reports = [
            job(tmp_path / "d", range(5)),
            job(tmp_path / "d", range(5, 9), "append"),
            job(tmp_path / "d", range(9, 12), "append"),
        ]
        assert [report.already_done for report in reports] == [again] * 3
        assert ids(tmp_path / "d") == list(range(12))
    assert "version 2 has 9 samples, with these, and nothing was added again" in str(reports[1])


def test_an_appended_dataset_has_the_bytes_of_its_parts(tmp_path: Path) -> None:
    store = write(tmp_path / "d", 60)
    before = everything(store.root)
    job(store.root, range(60, 70), "append", chunk_size=20)
    after = everything(store.root)
    assert {k: v for k, v in after.items() if k in before and k != "latest"} == {
        k: v for k, v in before.items() if k != "latest"
    }
    manifest = load_version(store).manifest
    assert manifest.settings["mode"] == "append"
    assert manifest.chunks.rows.tolist() == [20, 20, 20, 10]
    assert ms.StreamingDataset(store.root)[61]["name"] == "name 61"


def test_shapes_that_differ_are_no_longer_promised(tmp_path: Path) -> None:
    def of(width: int) -> Callable[[int], Any]:
        import numpy as np

        return lambda i: {"id": i, "x": np.zeros(width)}

    for number, width in enumerate([3, 3, 4]):
        job(tmp_path / "d", [number], "append", of(width))
    shapes = [
        load_version(LocalStore(tmp_path / "d"), n).manifest.schema.fields[1].shape for n in (2, 3)
    ]
    assert shapes == [(3,), None]
    assert [len(s["x"]) for s in ms.StreamingDataset(tmp_path / "d")] == [3, 3, 4]


def test_what_differs_in_type_is_refused_by_name_before_the_work(tmp_path: Path) -> None:
    store = write(tmp_path / "d")
    calls: list[int] = []

    def other(i: int) -> Any:
        calls.append(i)
        return {**make(i), "id": float(i)}

    with pytest.raises(errors.SampleError) as caught:
        job(store.root, range(500), "append", other)
    text = f"the field 'id' is float, in version 1 of {store} int; what is appended must have"
    assert text in str(caught.value)
    assert len(calls) == 1
    assert ids(store.root) == list(range(60))
    job(tmp_path / "e", range(3), "append", other)
    # What replaces the rows need not be like them.
    write(tmp_path / "f")
    assert job(tmp_path / "f", range(3), "overwrite", other).total == 3


# Overwrite ---------------------------------------------------------------------------------------


def test_who_reads_the_old_version_goes_on(tmp_path: Path) -> None:
    store = write(tmp_path / "d")
    old = ms.StreamingDataset(store.root)
    samples = iter(old)
    assert next(samples)["id"] == 0
    report = job(store.root, range(7), "overwrite")
    assert [sample["id"] for sample in samples] == list(range(1, 60))
    assert (len(old), len(ms.StreamingDataset(store.root))) == (60, 7)
    assert ids(store.root, version=1) == list(range(60))
    size = load_version(store, 1).manifest.nbytes
    assert report.replaced == (1, 60, size)
    assert f"version 1 (60 samples, {size / 1e3:.1f} kB) is kept" in str(report)
    assert f"`millstream prune {store} --keep 1 --older-than 7d` frees it" in str(report)
    assert prune(store, keep=1, older_than=0, now=LATER).freed >= size
    assert ids(store.root) == list(range(7))


def test_an_overwrite_that_fails_leaves_the_old_dataset_whole(tmp_path: Path) -> None:
    store = write(tmp_path / "d")
    before = everything(store.root)

    def fn(i: int) -> Any:
        if i == 50:
            raise ValueError("no")
        return make(i)

    with pytest.raises(errors.FunctionError):
        job(store.root, range(100), "overwrite", fn)
    after = everything(store.root)
    assert {name: after.get(name) for name in before} == before
    assert ids(store.root) == list(range(60))
    # What it has made is kept for the same call, and for no other.
    with pytest.raises(
        errors.OutputNotEmpty, match=r"then range\(0, 100\).*or remove .*/\.job-[0-9a-f]"
    ):
        job(store.root, range(99), "overwrite", fn)
    assert newest_version(store).manifest.version == 1  # type: ignore[union-attr]


def test_nothing_that_lies_beside_it_is_touched(tmp_path: Path) -> None:
    """Neither neighbours whose names begin alike, nor a file of the user's in the folder."""
    for name in ("data", "data2", "data-old"):
        write(tmp_path / name)
    (tmp_path / "data/README.md").write_text("mine")
    before = everything(tmp_path)
    job(tmp_path / "data", range(3), "overwrite")
    after = everything(tmp_path)
    assert {n: after.get(n) for n in before if n != "data/latest"} == {
        n: c for n, c in before.items() if n != "data/latest"
    }


# Places ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["append", "overwrite"])
def test_what_is_no_dataset_is_refused(tmp_path: Path, mode: str) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/a.txt").write_text("mine")
    with pytest.raises(errors.OutputNotEmpty, match=r"it holds a\.txt"):
        job(tmp_path / "notes", range(3), mode)
    # Nor is one whose manifest was lost: it has to be repaired first.
    store = write(tmp_path / "lost")
    shutil.rmtree(store.root / "versions")
    with pytest.raises(errors.OutputNotEmpty, match="it holds chunks, latest, runs"):
        job(store.root, range(3), mode)
    store = write(tmp_path / "bad")
    store.path("versions/000000000001").write_bytes(b"MILLMANI")
    with pytest.raises(errors.CorruptData, match="millstream repair"):
        job(store.root, range(3), mode)


def test_the_unfinished_job_of_the_first_version_is_named(tmp_path: Path) -> None:
    def fn(i: int) -> Any:
        return 1 // (5 - i)

    with pytest.raises(errors.FunctionError):
        job(tmp_path / "d", range(9), None, fn)
    with pytest.raises(errors.OutputNotEmpty, match="unfinished job of its first version"):
        job(tmp_path / "d", range(3), "append")
    with pytest.raises(errors.UsageError, match="mode is 'add'"):
        job(tmp_path / "d", range(3), "add")


def test_a_stopped_append_keeps_its_chunks_from_being_pruned(tmp_path: Path) -> None:
    store = write(tmp_path / "d")
    stop = tmp_path / "stop"
    stop.touch()

    def fn(i: int) -> Any:
        if i == 70 and stop.exists():
            with pytest.raises(errors.OutputBusy):
                prune(store, keep=1, older_than=0, now=LATER)
            raise ValueError("stop here")
        return make(i)

    with pytest.raises(errors.FunctionError):
        job(store.root, range(60, 80), "append", fn)
    recorded = [json.loads(p.read_bytes()) for p in store.root.glob(".job-*/chunks/*.json")]
    assert len(recorded) >= 3
    prune(store, keep=1, older_than=0, now=LATER)
    stop.unlink()
    job(store.root, range(60, 80), "append", fn)
    assert ids(store.root) == list(range(80))
    assert is_whole(store)


# Lost races --------------------------------------------------------------------------------------


def once(folder: Path, act: Callable[[], Any]) -> Callable[[int], Any]:
    """make, but its first call in this folder does something first."""

    def fn(i: int) -> Any:
        if not folder.exists():
            folder.mkdir()
            act()
        return make(i)

    return fn


def test_an_append_goes_on_from_the_version_that_won(tmp_path: Path) -> None:
    store = write(tmp_path / "d")
    fn = once(tmp_path / "began", lambda: job(store.root, range(100, 104), "append"))
    report = job(store.root, range(60, 65), "append", fn)
    assert (report.version, report.total) == (3, 69)
    assert ids(store.root) == [*range(60), *range(100, 104), *range(60, 65)]
    assert ids(store.root, 2) == [*range(60), *range(100, 104)]
    assert is_whole(store)


def test_an_append_after_an_overwrite_follows_that_one(tmp_path: Path) -> None:
    store = write(tmp_path / "d")
    fn = once(tmp_path / "began", lambda: job(store.root, range(3), "overwrite"))
    job(store.root, range(60, 65), "append", fn)
    assert ids(store.root) == [*range(3), *range(60, 65)]
    other = once(
        tmp_path / "2", lambda: job(store.root, range(3), "overwrite", lambda i: {"id": i})
    )
    with pytest.raises(errors.SampleError, match="in version 4 of"):
        job(store.root, range(70, 75), "append", other)
    assert ids(store.root) == [0, 1, 2]


def test_an_overwrite_replaces_only_what_its_caller_knew(tmp_path: Path) -> None:
    store = write(tmp_path / "d")
    calls: list[int] = []
    race = once(tmp_path / "began", lambda: job(store.root, range(60, 65), "append"))

    def fn(i: int) -> Any:
        calls.append(i)
        return race(i)

    with pytest.raises(errors.OutputNotEmpty, match="published version 2 meanwhile; when this"):
        job(store.root, range(8), "overwrite", fn)
    assert ids(store.root) == list(range(65))
    report = job(store.root, range(8), "overwrite", fn)
    assert report.replaced is not None
    assert report.replaced[:2] == (2, 65)
    assert calls == list(range(8))  # nothing was made again
    assert ids(store.root) == list(range(8))
    assert is_whole(store)
