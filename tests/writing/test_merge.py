"""Merge: the rows of all, chunks copied and never encoded, and a killed merge that goes on."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from buckets import Bucket
from datasets import chunk_files, everything, flip, make, write
from hypothesis import given, settings
from hypothesis import strategies as st
from kills import live, tear, tree
from scripts import start
from servers.faultproxy import FaultProxy
from servers.faults import Reset, slow_down
from servers.http import HTTPServer

import millstream as ms
from millstream import errors
from millstream.reading.verify import check_bytes
from millstream.store import LocalStore
from millstream.store.cloud import CloudStore
from millstream.versions import load_version
from millstream.writing import copying

pytestmark = pytest.mark.timeout(200)


def part(folder: Path, first: int, rows: int) -> Path:
    return write(folder, rows, lambda i: make(first + i)).root


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Rows 0 to 49, 100 to 129 and 200."""
    folder = tmp_path_factory.mktemp("parts")
    rows = [(0, 50), (100, 30), (200, 1)]
    return [part(folder / f"{first}", first, count) for first, count in rows]


ROWS = [*range(50), *range(100, 130), 200]


def merge(inputs: Any, output: Any, **options: Any) -> Any:
    return ms.merge_datasets(inputs, output, verbose=False, **options)


def ids(place: Any, **options: Any) -> list[int]:
    return [sample["id"] for sample in ms.StreamingDataset(place, **options)]


# Rows and bytes ----------------------------------------------------------------------------------


@settings(max_examples=25)
@given(order=st.lists(st.integers(0, 2), min_size=1, max_size=5))
def test_the_rows_are_those_of_all_in_their_order(
    parts: list[Path], tmp_path_factory: pytest.TempPathFactory, order: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("law") / "d"
    inputs = [parts[number] for number in order]
    report = merge(inputs, folder)
    expected = [row for place in inputs for row in ids(place)]
    assert ids(folder) == expected
    assert report.samples == len(expected)
    assert merge(inputs, folder).already_done
    names = {path.name for place in inputs for path in chunk_files(LocalStore(place))}
    assert {path.name for path in (folder / "chunks").iterdir()} == names
    shutil.rmtree(folder.parent)


def test_nothing_is_read_and_no_space_is_taken_on_one_file_system(
    parts: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "blocks", lambda *a: pytest.fail("a chunk was read"))
    before = [everything(place) for place in parts]
    merge(parts, tmp_path / "d")
    assert [everything(place) for place in parts] == before
    for place in parts:
        for path in chunk_files(LocalStore(place)):
            assert path.samefile(tmp_path / "d/chunks" / path.name)
    # What was merged stays when the inputs go.
    copies = [shutil.copytree(place, tmp_path / place.name) for place in parts]
    merge(copies, tmp_path / "e")
    for place in copies:
        shutil.rmtree(place)
    assert ids(tmp_path / "e") == ROWS


def test_where_there_are_no_links_bytes_are_copied_and_checked(
    parts: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_link(source: Any, target: Any) -> None:
        raise OSError(18, os.strerror(18))

    real = os.link
    monkeypatch.setattr(LocalStore, "link", lambda *a: False)
    merge(parts, tmp_path / "d")
    monkeypatch.undo()
    assert ids(tmp_path / "d") == ROWS
    # The same by the error that another file system gives.
    store = LocalStore(tmp_path / "f")
    monkeypatch.setattr(os, "link", no_link)
    assert store.link(chunk_files(LocalStore(parts[0]))[0], "chunks/x") is False
    monkeypatch.setattr(os, "link", real)
    bad = shutil.copytree(parts[0], tmp_path / "bad")
    damaged = chunk_files(LocalStore(bad))[1]
    flip(damaged, 3000)
    monkeypatch.setattr(LocalStore, "link", lambda *a: False)
    with pytest.raises(errors.CorruptData, match=rf"{bad}: the chunk {damaged.name} is damaged"):
        merge([parts[1], bad], tmp_path / "e")
    assert not (tmp_path / "e/chunks" / damaged.name).exists()
    assert not (tmp_path / "e/versions").exists()
    # Mended, it goes on.
    flip(damaged, 3000)
    assert merge([parts[1], bad], tmp_path / "e").samples == 80


def test_a_chunk_that_is_missing_or_cut_is_named(parts: list[Path], tmp_path: Path) -> None:
    for number, harm in enumerate((Path.unlink, lambda path: os.truncate(path, 100))):
        bad = shutil.copytree(parts[0], tmp_path / f"bad {number}")
        path = chunk_files(LocalStore(bad))[2]
        harm(path)
        with pytest.raises(errors.CorruptData, match=path.name):
            merge([parts[1], bad], tmp_path / f"{number}")
        assert not (tmp_path / f"{number}/versions").exists()


def test_shapes_may_differ_and_types_may_not(parts: list[Path], tmp_path: Path) -> None:
    for width in (3, 4):
        write(tmp_path / f"{width}", 5, lambda i, w=width: {"id": i, "x": np.zeros(w)})
    write(tmp_path / "int", 5, lambda i: {"id": i, "x": np.zeros(3, np.int8)})
    write(tmp_path / "more", 5, lambda i: {"id": i, "x": np.zeros(3), "y": 1})
    merge([tmp_path / "3", tmp_path / "4"], tmp_path / "d")
    assert load_version(LocalStore(tmp_path / "d")).manifest.schema.fields[1].shape is None
    assert len(ms.StreamingDataset(tmp_path / "d")[7]["x"]) == 4
    with pytest.raises(errors.SampleError) as caught:
        merge([tmp_path / "3", tmp_path / "int"], tmp_path / "e")
    places = [f"version 1 of {tmp_path / name}" for name in ("int", "3")]
    assert f"'x' is ndarray[|i1] in {places[0]}, and ndarray[<f8] in {places[1]}; data" in str(
        caught.value
    )
    with pytest.raises(errors.SampleError, match=r"with the keys \['id', 'x', 'y'\] in version 1"):
        merge([tmp_path / "3", tmp_path / "more"], tmp_path / "e")
    with pytest.raises(errors.SampleError, match="what is appended must have the same"):
        merge([tmp_path / "int"], tmp_path / "d", mode="append")
    assert not (tmp_path / "e").exists()


def test_the_output_rules_are_those_of_optimize(parts: list[Path], tmp_path: Path) -> None:
    first, second, third = parts
    folder = tmp_path / "d"
    merge([first], folder)
    with pytest.raises(errors.OutputNotEmpty, match=r"finished dataset of 50 samples by millst"):
        merge([second], folder)
    assert merge([second], folder, mode="append").version == 2
    assert merge([second], folder, mode="append").already_done
    assert ids(folder) == [*range(50), *range(100, 130)]
    assert merge([third, first], folder, mode="overwrite").replaced is not None
    assert ids(folder) == [200, *range(50)]
    with pytest.raises(errors.UsageError, match="is the output and an input"):
        merge([third, folder], folder, mode="append")
    ms.optimize(make, [7], folder, mode="append", num_workers=0, verbose=False)
    assert ids(folder)[-1] == 7
    store = LocalStore(folder)
    assert not any(c.findings for c in check_bytes(store, load_version(store).manifest, threads=1))
    for wrong, said in ((str(first), "expected a list"), ([], "expected a list")):
        with pytest.raises(errors.UsageError, match=said):
            merge(wrong, tmp_path / "e")
    with pytest.raises(errors.DatasetNotFound):
        merge([first, tmp_path / "none"], tmp_path / "e")
    with pytest.raises(errors.UsageError, match="storage_options are for one service"):
        merge(parts, tmp_path / "e", storage_options={"region": "here"})


# Kills -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("links", [True, False])
def test_killed_before_each_change_to_the_disk(
    parts: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    if not links:
        monkeypatch.setattr(LocalStore, "link", lambda *a: False)
    monkeypatch.setattr(copying, "AT_ONCE", 1)
    undisturbed = live(lambda: merge(parts, tmp_path / "0"), tmp_path)
    whole, chance = tree(tmp_path / "0"), random.Random(0)
    for number in range(1, len(undisturbed.changes) + 1, 1 if links else 3):
        folder = tmp_path / f"{number}"
        life = live(lambda folder=folder: merge(parts, folder), tmp_path, number)  # type: ignore[misc]
        assert life.killed
        tear(life, chance)
        there = {path.name for path in folder.glob("chunks/*")}
        again = live(lambda folder=folder: merge(parts, folder), tmp_path)  # type: ignore[misc]
        # No chunk is copied twice.
        assert not [c for c in again.done if c.event == "os.rename" and Path(c.path).name in there]
        assert tree(folder) == whole


# Buckets -----------------------------------------------------------------------------------------


def upload(folder: Path, bucket: Bucket) -> None:
    for name, content in everything(folder).items():
        bucket.store.put(name, content)


def below(bucket: Bucket, name: str) -> Bucket:
    return Bucket(f"{bucket.url}/{name}", bucket.options)


@pytest.mark.parametrize("scheme", ["s3", "gs", "az"])
def test_in_a_bucket_the_server_copies(
    parts: list[Path],
    of_service: Callable[[str], Bucket],
    scratch: Path,
    tmp_path: Path,
    scheme: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bucket = of_service(scheme)
    for place in parts:
        upload(place, below(bucket, place.name))
    monkeypatch.setattr(copying, "blocks", lambda *a: pytest.fail("a chunk was read"))
    urls = [below(bucket, place.name).url for place in parts]
    output = below(bucket, "all")
    report = merge(urls, output.url, storage_options=bucket.options)
    assert (report.samples, report.chunks) == (81, 6)
    local = merge(parts, tmp_path / "d")
    assert (local.samples, local.bytes) == (report.samples, report.bytes)
    assert output.objects() == {
        name: content
        for name, content in everything(tmp_path / "d").items()
        if not name.startswith("runs/")
    }
    assert list(scratch.iterdir()) == []


def test_a_bad_network_changes_nothing(
    parts: list[Path], proxied: Bucket, proxy: FaultProxy, scratch: Path
) -> None:
    for place in parts:
        upload(place, below(proxied, place.name))
    urls = [below(proxied, place.name).url for place in parts]
    output = below(proxied, "all")
    proxy.reset()
    proxy.do(slow_down(skip=3, times=3), Reset(skip=9, times=2))
    merge(urls, output.url, storage_options=proxied.options)
    tally = proxy.tally()
    assert set(tally.faults) == {"Status", "Reset"}
    chunks = [r for r in tally.log if "/chunks/" in r.key]
    assert {r.method for r in chunks} == {"PUT"}
    assert ids(output.url, storage_options=output.options, cache_dir=scratch / "c") == ROWS


# Dies right before, or right after, its copy of a number.
KILLED = """
    import json, os, signal, sys, tempfile
    import millstream as ms
    from millstream.store.cloud import CloudStore
    from millstream.writing import copying

    inputs, output, options, number, after, tempfile.tempdir = json.loads(sys.argv[1])
    copying.AT_ONCE = 1
    copy, made = CloudStore.copy, [0]

    def counted(self, key, to):
        made[0] += 1
        if after or made[0] < number:
            copy(self, key, to)
        if made[0] == number:
            os.kill(os.getpid(), signal.SIGKILL)

    CloudStore.copy = counted
    ms.merge_datasets(inputs, output, storage_options=options, verbose=False)
"""


def test_killed_at_each_copy_it_goes_on(
    parts: list[Path], bucket: Bucket, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in parts:
        upload(place, below(bucket, place.name))
    urls = [below(bucket, place.name).url for place in parts]
    copied: list[str] = []
    copy = CloudStore.copy

    def counted(self: CloudStore, key: str, to: str) -> None:
        copied.append(key)
        copy(self, key, to)

    monkeypatch.setattr(CloudStore, "copy", counted)
    for number in range(1, 7):
        output, after = below(bucket, f"{number}"), number % 2 == 0
        call = [urls, output.url, bucket.options, number, after, str(scratch)]
        killed = start(KILLED, json.dumps(call))
        killed.communicate()
        assert killed.returncode == -signal.SIGKILL
        copied.clear()
        merge(urls, output.url, storage_options=bucket.options)
        assert len(copied) == 6 - number + (not after)
        assert ids(output.url, storage_options=bucket.options, cache_dir=scratch / "c") == ROWS
    shutil.rmtree(scratch / "c")
    assert list(scratch.iterdir()) == []


def test_between_places_the_bytes_pass_through_here(
    parts: list[Path], bucket: Bucket, scratch: Path, tmp_path: Path
) -> None:
    """Up from a folder and from a web server, and down again."""
    with HTTPServer(parts[1].parent) as server:
        inputs = [parts[0], f"{server.url}/{parts[1].name}", parts[2]]
        merge(inputs, bucket.url, storage_options=bucket.options)
    merge([bucket.url], tmp_path / "d", storage_options=bucket.options)
    assert ids(tmp_path / "d") == ROWS
    assert list(scratch.iterdir()) == []


def test_what_passes_through_here_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each copy ends when the next one is asked for; how many are under way then is counted."""
    ends = [threading.Event() for _ in range(8)]
    under_way: list[int] = []
    done: list[copying.Copy] = []

    def copies() -> Iterator[copying.Copy]:
        for number, end in enumerate(ends):
            yield copying.Copy(source=0, digest=f"{number}", size=40, rows=1)
            under_way.append(number + 1 - len(done))
            end.set()

    class Copier:
        def through(self, size: int) -> int:
            return size

        def copy(self, digest: str, size: int) -> None:
            ends[int(digest)].wait()

    for limit, most in ((100, 2), (10, 1), (10_000, 8)):
        monkeypatch.setattr(copying, "THROUGH_BYTES", limit)
        for end in ends:
            end.clear()
        under_way.clear()
        done.clear()
        copying.copy_chunks(copies(), [Copier()], done.append)
        assert len(done) == 8
        assert max(under_way) == most


def test_memory_is_a_bucket_too(parts: list[Path], prefix: str, scratch: Path) -> None:
    merge(parts[:1], f"memory://{prefix}/a")
    merge([f"memory://{prefix}/a", *parts[1:]], f"memory://{prefix}/b")
    assert ids(f"memory://{prefix}/b") == ROWS
