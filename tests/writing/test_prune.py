"""Prune: deletes what nothing needs, and nothing else, whatever it is killed between."""

from __future__ import annotations

import json
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from datasets import (
    add_version,
    chunk_files,
    everything,
    flip,
    grow_older,
    make,
    manifest_file,
    write,
)
from hypothesis import given, settings
from hypothesis import strategies as st

import millstream as ms
from millstream.errors import (
    CorruptData,
    DatasetNotFound,
    FunctionError,
    MillstreamError,
    OutputBusy,
    UsageError,
)
from millstream.format import Tombstone, read_version
from millstream.reading.verify import check_bytes
from millstream.store import LocalStore
from millstream.versions import load_version
from millstream.writing.folder import unfinished
from millstream.writing.prune import Pruning, prune

LATER = 10**12  # a clock that makes everything old
DAY = 86_400


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """Version 1: 3 chunks. Version 2: the last 2 of them and 2 more. Version 3: these 2."""
    store = write(tmp_path / "d")
    add_version(store, write(tmp_path / "other", 40, lambda i: make(100 + i)).root, first=1)
    add_version(store, first=2)
    return store


def names(store: LocalStore, version: int) -> set[str]:
    return {path.name for path in chunk_files(store, version)}


def is_whole(store: LocalStore, version: int) -> bool:
    manifest = load_version(store, version).manifest
    return not any(c.findings for c in check_bytes(store, manifest, threads=1))


def run(store: LocalStore, **options: float) -> Pruning:
    return prune(store, **{"keep": 1, "older_than": 0, "now": LATER, **options})  # type: ignore[arg-type]


@pytest.mark.parametrize("keep", [1, 2, 3, 4])
def test_the_newest_versions_stay_whole_and_the_rest_goes(store: LocalStore, keep: int) -> None:
    versions = {n: names(store, n) for n in (1, 2, 3)}
    digests = {n: load_version(store, n).digest for n in (1, 2, 3)}
    kept = [n for n in (1, 2, 3) if n > 3 - keep]
    needed = set().union(*(versions[n] for n in kept))
    gone = set().union(*versions.values()) - needed
    size = sum(store.path(f"chunks/{name}").stat().st_size for name in gone)
    done = run(store, keep=keep)
    assert done.kept == tuple(kept)
    assert {found.key for found in done.deleted} == {f"chunks/{name}" for name in gone}
    assert (done.freed, done.spared) == (size, ())
    assert {path.name for path in (store.root / "chunks").iterdir()} == needed
    assert all(is_whole(store, n) for n in kept)
    for number in {1, 2, 3} - set(kept):
        content = manifest_file(store, number).read_bytes()
        stone = Tombstone(version=number, digest=digests[number])
        assert read_version(content, number) == stone
        beside = json.loads(manifest_file(store, number).with_suffix(".json").read_text())
        assert beside == {
            "format": 1, "version": number, "pruned": True, "digest": digests[number],
        }  # fmt: skip
    after = everything(store.root)
    again = run(store, keep=keep)
    assert (again.tombstones, again.deleted) == ((), ())
    assert everything(store.root) == after


def test_readers_pass_by_what_is_pruned(store: LocalStore) -> None:
    run(store)
    store.path("latest").unlink()
    assert len(ms.StreamingDataset(store.root)) == load_version(store, 3).manifest.rows
    with pytest.raises(DatasetNotFound, match="version 1 was pruned"):
        ms.StreamingDataset(store.root, version=1)
    assert add_version(store).version == 4


def test_what_is_young_stays(store: LocalStore) -> None:
    now = manifest_file(store, 3).stat().st_mtime
    (first,) = (f"chunks/{name}" for name in names(store, 1) - names(store, 2))
    assert run(store, older_than=DAY, now=now).kept == (1, 2, 3)
    grow_older(store, "versions/000000000001", 2 * DAY)
    done = run(store, older_than=DAY, now=now)
    assert (done.kept, done.deleted) == ((2, 3), ())
    assert [found.key for found in done.spared] == [first]
    grow_older(store, first, 2 * DAY)
    grow_older(store, f"chunks/{names(store, 3).pop()}", 2 * DAY)
    done = run(store, older_than=DAY, now=now)
    assert [found.key for found in done.deleted] == [first]
    assert is_whole(store, 3)


def test_a_dry_run_changes_nothing(store: LocalStore) -> None:
    before = everything(store.root)
    done = run(store, dry_run=True)
    assert everything(store.root) == before
    assert run(store) == done


def test_foreign_names_are_left_alone(store: LocalStore) -> None:
    foreign = [
        "chunks/" + "a" * 63, "chunks/" + "A" * 64, "chunks/" + "a" * 64 + ".bak",
        "chunks/.new-1", "chunks/.new-0123456789abcdef.bak", "chunks/sub/" + "a" * 64,
        "chunks/notes.txt", "a" * 64, "thesis.tex",
        ".new-thesis", "sub/.new-0123456789abcdef", "sub/chunks/" + "a" * 64, "runs/mine.json",
    ]  # fmt: skip
    ours = [
        f"{folder}.new-0123456789abcdef" for folder in ("", "chunks/", "versions/", "runs/")
    ] + ["chunks/" + "a" * 64]
    for key in foreign + ours:
        store.put(key, b"x")
    (store.root / "chunks/link").symlink_to(store.root / "thesis.tex")
    done = run(store, keep=9)
    assert {found.key for found in done.deleted} == set(ours)
    assert all(store.get(key) == b"x" for key in [*foreign, "chunks/link"])


def test_a_running_job_is_left_alone_and_a_stopped_one_keeps_its_chunks(
    tmp_path: Path, store: LocalStore
) -> None:
    def fn(i: int) -> object:
        if i == 40:
            raise ValueError("stop here")
        return make(1_000 + i)

    with pytest.raises(FunctionError):
        write(tmp_path / "stopped", fn=fn)
    for folder in (".job", "chunks"):
        shutil.copytree(tmp_path / "stopped" / folder, store.root / folder, dirs_exist_ok=True)
    recorded = {path.name for path in (tmp_path / "stopped/chunks").iterdir()}
    assert recorded
    before = everything(store.root)
    with unfinished(store) as digests, pytest.raises(OutputBusy):
        assert digests == recorded
        run(store)
    assert everything(store.root) == before
    run(store)
    left = {path.name for path in (store.root / "chunks").iterdir()}
    assert left == recorded | names(store, 3)
    record = next((store.root / ".job/chunks").iterdir())
    record.write_text("{")
    with pytest.raises(CorruptData, match="not the record of a chunk"):
        run(store)


def damaged(store: LocalStore) -> None:
    flip(manifest_file(store, 3), 100)


def lost(store: LocalStore) -> None:
    manifest_file(store, 3).unlink()


def lost_without_its_json(store: LocalStore) -> None:
    lost(store)
    manifest_file(store, 3).with_suffix(".json").unlink()


def moved_aside(store: LocalStore) -> None:
    damaged(store)
    manifest = store.path("versions/000000000003")
    manifest.rename(manifest.with_suffix(".damaged"))
    manifest_file(store, 3).with_suffix(".json").unlink()
    store.put("latest", b"2")


@pytest.mark.parametrize("harm", [damaged, lost, lost_without_its_json, moved_aside])
def test_what_a_lost_version_may_need_is_not_deleted(store: LocalStore, harm: object) -> None:
    harm(store)  # type: ignore[operator]
    before = everything(store.root)
    with pytest.raises(CorruptData, match=r"what it needs is not known.*`millstream repair`"):
        run(store)
    assert everything(store.root) == before


def test_a_damaged_version_that_is_old_may_go(store: LocalStore) -> None:
    flip(manifest_file(store, 1), 100)
    with pytest.raises(CorruptData, match="version 1 is to be kept and cannot be read"):
        run(store, keep=3)
    assert [stone.version for stone in run(store, keep=2).tombstones] == [1]


def test_what_makes_no_sense(tmp_path: Path, store: LocalStore) -> None:
    with pytest.raises(DatasetNotFound):
        run(LocalStore(tmp_path / "none"))
    shutil.rmtree(store.root / "versions")
    store.path("latest").unlink()
    before = everything(store.root)
    with pytest.raises(DatasetNotFound):
        run(store)
    for options in ({"keep": 0}, {"older_than": -1}):
        with pytest.raises(UsageError):
            run(store, **options)
    assert everything(store.root) == before


# Killed in between -----------------------------------------------------------------------------


class Killed(Exception):
    pass


class Dying(LocalStore):
    """Ends after so many changes."""

    __slots__ = ("left",)

    def change(self) -> None:
        object.__setattr__(self, "left", self.left - 1)
        if self.left < 0:
            raise Killed

    def put(self, key: str, content: bytes) -> None:
        self.change()
        LocalStore.put(self, key, content)

    def delete(self, key: str) -> None:
        self.change()
        LocalStore.delete(self, key)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("pristine")
    store = write(place / "d", chunk_size=10)
    for number in range(3):
        other = write(place / f"{number}", 20, lambda i, n=number: make(1_000 * (n + 1) + i))
        add_version(store, other.root, first=2)
    return store.root


@settings(max_examples=60)
@given(keep=st.integers(1, 5), changes=st.integers(0, 14))
def test_no_version_that_opens_lacks_a_chunk(pristine: Path, keep: int, changes: int) -> None:
    with tempfile.TemporaryDirectory() as place:
        root = Path(shutil.copytree(pristine, Path(place) / "d"))
        dying = Dying(root)
        object.__setattr__(dying, "left", changes)
        with suppress(Killed):
            prune(dying, keep=keep, older_than=0, now=LATER)
        store = LocalStore(root)
        opened = 0
        for number in (1, 2, 3, 4):
            try:
                assert is_whole(store, number)
                opened += 1
            except MillstreamError as error:
                assert "was pruned" in str(error)
        assert opened >= min(keep, 4)
        run(store, keep=keep)
        reference = LocalStore(Path(shutil.copytree(pristine, Path(place) / "e")))
        run(reference, keep=keep)
        assert everything(root) == everything(reference.root)
