"""A state names the files that it is of: others are refused, copies elsewhere are the same."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from servers.seaweedfs import SeaweedFS
from trees import Pairs, flat, make

import millstream as ms
from millstream import errors
from millstream.store import open_store

pytestmark = pytest.mark.timeout(120)
KEY = "a/0000.bin"


def loader(place: Any, **options: Any) -> ms.StreamingDataLoader:
    dataset = ms.StreamingRawDataset(place, shuffle=True, **options)
    return ms.StreamingDataLoader(dataset, batch_size=6)


def begun(some: ms.StreamingDataLoader) -> tuple[dict[str, Any], list[bytes]]:
    """The state after the first of its batches, and the samples that then come."""
    batches = iter(some)
    next(batches)
    state = json.loads(json.dumps(some.state_dict()))
    return state, flat(batches)


def is_refused(some: ms.StreamingDataLoader, state: Mapping[str, Any]) -> str:
    with pytest.raises(errors.StateMismatch) as caught:
        some.load_state_dict(state)
    return str(caught.value)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    make(tmp_path / "files", 20)
    return tmp_path / "files"


# What is done to the files, beside what differs then.
CHANGES: dict[str, tuple[Callable[[Path], Any], list[str]]] = {
    "added": (
        lambda place: (place / "a" / "new.bin").write_bytes(b"12345"),
        ["20 files, 21,330 bytes", "21 files, 21,335 bytes"],
    ),
    "removed": (
        lambda place: (place / KEY).unlink(),
        ["20 files, 21,330 bytes", "19 files, 20,330 bytes"],
    ),
    "grown": (
        lambda place: (place / KEY).write_bytes(bytes(1_001)),
        ["20 files, 21,330 bytes", "20 files, 21,331 bytes"],
    ),
    "renamed": (
        lambda place: (place / KEY).rename(place / "a" / "0000.raw"),
        ["20 files, 21,330 bytes, names", "this is version"],
    ),
    "sizes exchanged": (
        lambda place: exchange(place / KEY, place / "b/deep/er/0004.bin"),
        ["20 files, 21,330 bytes, names", "this is version"],
    ),
    "rewritten": (
        lambda place: (place / KEY).write_bytes(bytes(1_000)),
        ["same paths and sizes", "written to or replaced"],
    ),
    "touched": (
        lambda place: os.utime(place / KEY, ns=(1, 1)),
        ["same paths and sizes", "written to or replaced"],
    ),
}  # fmt: skip


def exchange(one: Path, other: Path) -> None:
    first, second = one.read_bytes(), other.read_bytes()
    assert len(first) != len(second)
    one.write_bytes(second)
    other.write_bytes(first)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("far", [False, True])
def test_other_files_are_refused(place: Path, tmp_path: Path, change: str, far: bool) -> None:
    """The same folder as a network drive, too: it is the same place."""
    state, rest = begun(loader(place))
    again = loader(f"local:{place}" if far else place, cache_dir=tmp_path / "cache")
    again.load_state_dict(state)
    assert flat(again) == rest
    do, told = CHANGES[change]
    do(place)
    told_of = is_refused(loader(place), state)
    assert all(words in told_of for words in told), told_of
    assert told_of.count("names ") == (1 if "same paths" in told[0] else 2)


def test_the_dataset_of_a_mixture_is_named(place: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(place, tmp_path / "other"))

    def mixed(kind: type[Any] = ms.CombinedStreamingDataset) -> ms.StreamingDataLoader:
        return ms.StreamingDataLoader(
            kind([ms.StreamingRawDataset(one, shuffle=True) for one in (place, other)]),
            batch_size=6,
        )

    for kind in (ms.CombinedStreamingDataset, ms.ParallelStreamingDataset):
        path = other / KEY
        before = path.stat().st_mtime_ns
        state = mixed(kind).state_dict()
        assert len(json.dumps(state)) < 1_024
        mixed(kind).load_state_dict(state)
        os.utime(path, ns=(1, 1))
        assert "of dataset 1: there are the same paths" in is_refused(mixed(kind), state)
        os.utime(path, ns=(before, before))
    (other / KEY).unlink()
    assert "of dataset 1, this is version" in is_refused(mixed(kind), state)


def test_other_groups_of_the_same_files_are_refused(place: Path) -> None:
    class Threes(Pairs):
        def setup(self, files: list[ms.FileMetadata]) -> list[list[ms.FileMetadata]]:
            return [files[:3], *(files[n : n + 2] for n in range(3, 19, 2)), files[19:]]

    state = ms.StreamingDataLoader(Pairs(place)).state_dict()
    told = is_refused(ms.StreamingDataLoader(Threes(place), collate_fn=list), state)
    assert "was saved on version" in told


@pytest.mark.parametrize("with_times", [True, False])
def test_copies_in_another_folder_are_the_same(
    place: Path, tmp_path: Path, with_times: bool
) -> None:
    state, rest = begun(loader(place))
    copier = shutil.copy2 if with_times else shutil.copyfile
    moved = Path(shutil.copytree(place, tmp_path / "moved", copy_function=copier))
    shutil.rmtree(place)
    again = loader(moved)
    again.load_state_dict(state)
    assert flat(again) == rest
    assert again.coverage().exact
    # What it saves is of this place from now on: changes here are refused.
    here, _ = begun(loader(moved))
    os.utime(moved / KEY, ns=(1, 1))
    assert "same paths and sizes" in is_refused(loader(moved), here)
    (moved / KEY).unlink()
    assert "19 files" in is_refused(loader(moved), state)


def test_ranks_with_copies_of_their_own_read_the_same(place: Path, tmp_path: Path) -> None:
    reports = []
    for rank in range(3):
        copy = shutil.copytree(place, tmp_path / f"rank-{rank}", copy_function=shutil.copyfile)
        batches = ms.StreamingRawDataset(copy, shuffle=True).batches(
            3, rank=rank, ranks=3, drop_last=False
        )
        list(batches)
        reports.append(batches.coverage())
    whole = reports[0].combined(reports)
    assert whole.exact, whole
    assert whole.delivered.count == 20


def test_copies_in_a_bucket_are_the_same(
    place: Path, seaweedfs: SeaweedFS, prefix: str, tmp_path: Path
) -> None:
    """And back. What is replaced in the bucket is refused there."""
    url, options = f"s3://millstream/{prefix}", seaweedfs.options()
    store = open_store(url, options)
    for path in sorted(path for path in place.rglob("*") if path.is_file()):
        store.put_file(path.relative_to(place).as_posix(), path)

    def far() -> ms.StreamingDataLoader:
        return loader(url, storage_options=options, cache_dir=tmp_path / "cache")

    state, rest = begun(loader(place))
    there = far()
    there.load_state_dict(state)
    assert flat(there) == rest
    of_bucket, rest = begun(far())
    for again in (loader(place), far()):
        again.load_state_dict(of_bucket)
        assert flat(again) == rest
    store.put(KEY, bytes(1_000))
    assert "as their times or ETags say" in is_refused(far(), of_bucket)
    assert len(json.dumps(of_bucket)) < 1_024
