"""Repair: gives back the lost manifest byte for byte, or refuses and says why."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from datasets import add_version, chunk_files, everything, flip, make, manifest_file, write
from hypothesis import given, settings
from hypothesis import strategies as st

import millstream as ms
from millstream.errors import (
    CorruptData,
    DatasetNotFound,
    FunctionError,
    MillstreamError,
    OutputBusy,
    UnsupportedError,
    UsageError,
)
from millstream.format import read_header
from millstream.store import LocalStore
from millstream.versions import load_version
from millstream.writing.folder import unfinished
from millstream.writing.rebuild import find_jobs
from millstream.writing.repair import repair


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return write(tmp_path / "d")


def lose_manifest(store: LocalStore) -> None:
    shutil.rmtree(store.root / "versions")
    store.path("latest").unlink()


def test_a_lost_manifest_comes_back_byte_for_byte(store: LocalStore) -> None:
    before = everything(store.root)
    lose_manifest(store)
    told: list[int] = []
    done = repair(store, threads=2, advance=told.append)
    assert everything(store.root) == before
    assert (done.newest, done.notes) == (1, ())
    assert sum(told) == load_version(store).manifest.nbytes
    assert repair(store).put == {}


@pytest.mark.parametrize("options", [{"chunk_size": 7}, {"chunk_size": None, "chunk_bytes": "3kB"}])
def test_with_any_settings(tmp_path: Path, options: dict[str, object]) -> None:
    store = write(tmp_path / "d", **options)
    before = everything(store.root)
    lose_manifest(store)
    repair(store)
    assert everything(store.root) == before


def test_the_record_of_the_run_is_not_needed_where_the_json_is(store: LocalStore) -> None:
    before = everything(store.root)
    shutil.rmtree(store.root / "runs")
    manifest_file(store).unlink()
    assert repair(store).notes == ()
    assert {**before, **everything(store.root)} == before


def test_without_any_record_it_says_what_cannot_be_known(store: LocalStore) -> None:
    before = load_version(store)
    lose_manifest(store)
    shutil.rmtree(store.root / "runs")
    assert any("could be missing" in note for note in repair(store).notes)
    after = load_version(store)
    assert after.manifest.rows == 60
    assert after.manifest.schema == before.manifest.schema
    assert after.manifest.settings == {}
    assert [s["id"] for s in ms.StreamingDataset(store.root)] == list(range(60))


@pytest.mark.parametrize("lose", ["latest", "versions/000000000001.json"])
def test_what_goes_with_a_manifest_is_restored(store: LocalStore, lose: str) -> None:
    before = everything(store.root)
    for damage in (store.path(lose).unlink, lambda: store.path(lose).write_bytes(b"?")):
        damage()
        assert list(repair(store).put) == [lose]
        assert everything(store.root) == before


def test_a_damaged_later_manifest_is_moved_aside(store: LocalStore) -> None:
    before = everything(store.root)
    for tries in (1, 2):
        add_version(store)
        flip(manifest_file(store, 2), 200)
        damaged = manifest_file(store, 2).read_bytes()
        with pytest.raises(CorruptData, match="version 2"):
            ms.StreamingDataset(store.root)
        done = repair(store)
        key = "versions/000000000002.damaged" + ("" if tries == 1 else "-2")
        assert done.aside == {2: key}
        assert store.get(key) == damaged
        assert len(ms.StreamingDataset(store.root)) == 60
    after = everything(store.root)
    assert {key: after[key] for key in before} == before


def test_a_damaged_earlier_manifest_is_reported_and_left(store: LocalStore) -> None:
    add_version(store)
    flip(manifest_file(store, 1), 200)
    before = everything(store.root)
    done = repair(store, job="ab")
    assert (done.newest, done.aside, done.put) == (2, {}, {})
    assert "version 1 is damaged too" in done.notes[0]
    assert "nothing is rebuilt" in done.notes[1]
    assert everything(store.root) == before


def test_signs_of_a_lost_version_are_told(store: LocalStore) -> None:
    add_version(store)
    add_version(store)
    manifest_file(store, 3).unlink()
    manifest_file(store, 1).unlink()
    notes = repair(store).notes
    assert notes == ("version 1 is missing", "the hint named version 3, which is missing")
    assert store.get("latest") == b"2\n"


def test_a_damaged_only_manifest_is_moved_aside_and_rebuilt(store: LocalStore) -> None:
    before = everything(store.root)
    flip(manifest_file(store), 70)
    repair(store)
    after = everything(store.root)
    assert after.pop("versions/000000000001.damaged") != before["versions/000000000001"]
    assert after == before


@pytest.mark.parametrize("damage", [lose_manifest, lambda store: flip(manifest_file(store), 70)])
def test_a_dry_run_changes_nothing(store: LocalStore, damage: Callable[[LocalStore], None]) -> None:
    damage(store)
    before = everything(store.root)
    done = repair(store, dry_run=True)
    assert done.rebuilt is not None
    assert everything(store.root) == before


def test_a_newer_format_is_no_damage(store: LocalStore) -> None:
    content = bytearray(manifest_file(store).read_bytes())
    content[8] = 2
    manifest_file(store).write_bytes(content)
    before = everything(store.root)
    with pytest.raises(UnsupportedError, match="format version 2"):
        repair(store)
    assert everything(store.root) == before


# Refusals --------------------------------------------------------------------------------------


def refused(store: LocalStore, kind: type[MillstreamError], words: str, **options: str) -> None:
    before = everything(store.root)
    with pytest.raises(kind, match=words):
        repair(store, **options)
    assert everything(store.root) == before


def test_gaps_are_refused(store: LocalStore) -> None:
    middle, last = chunk_files(store)[1:]
    lose_manifest(store)
    moved = last.read_bytes()
    last.unlink()
    refused(store, CorruptData, "of the 3 chunks .* missing: 2")
    last.write_bytes(moved)
    middle.unlink()
    refused(store, CorruptData, "missing: 1")


def test_a_double_is_refused(store: LocalStore) -> None:
    first = chunk_files(store)[0]
    lose_manifest(store)
    double = first.with_name("ab" * 32)
    double.write_bytes(first.read_bytes())
    refused(store, CorruptData, "claim to be number 0")
    first.unlink()
    refused(store, CorruptData, "these chunks are damaged(.|\n)*abab")


def test_chunks_that_are_no_longer_their_name_are_all_named(store: LocalStore) -> None:
    one, _, other = chunk_files(store)
    lose_manifest(store)
    for path in (one, other):
        flip(path, -1)
    refused(store, CorruptData, f"{one.name}(.|\n)*{other.name}")


def test_an_unreadable_chunk_is_named(store: LocalStore) -> None:
    first, _, last = chunk_files(store)
    lose_manifest(store)
    last.write_bytes(last.read_bytes()[:-1])
    refused(store, CorruptData, rf"missing: 2(.|\n)*{last.name}: has")
    shutil.rmtree(store.root / "runs")
    refused(store, CorruptData, rf"could belong to the job(.|\n)*{last.name}")
    last.unlink()
    flip(first, 70)
    refused(store, CorruptData, rf"missing: 0(.|\n)*{first.name}: the header")


def test_several_jobs_are_listed_and_one_is_chosen(tmp_path: Path, store: LocalStore) -> None:
    before = store.get("versions/000000000001")
    other = write(tmp_path / "other", 30, lambda i: {"n": i})
    shutil.copytree(other.root / "chunks", store.root / "chunks", dirs_exist_ok=True)
    lose_manifest(store)
    jobs = find_jobs(store, tuple(store.list("chunks/")), threads=1).jobs
    assert sorted((j.rows, len(j.chunks), j.record is None) for j in jobs) == [
        (30, 2, True), (60, 3, False),
    ]  # fmt: skip
    mine = next(job for job in jobs if job.record)
    refused(store, UsageError, r"(?s)chunks of 2 jobs.*60 rows, 3 chunks, .* finished 2")
    refused(store, UsageError, "names 0 of the jobs", job="xyz")
    refused(store, UsageError, "names 2 of the jobs", job="")
    repair(store, job=mine.digest[:8])
    assert store.get("versions/000000000001") == before


def test_the_json_beside_must_agree(tmp_path: Path, store: LocalStore) -> None:
    other = write(tmp_path / "other", 30)
    manifest_file(store).unlink()
    shutil.copy(f"{manifest_file(other)}.json", f"{manifest_file(store)}.json")
    refused(store, CorruptData, r"000000000001.json describes \(bytes: .*rows: 60 here, 30 there")
    manifest_file(store).with_name("000000000001.json").write_text("{")
    assert repair(store).newest == 1


def test_an_unfinished_job_is_refused(tmp_path: Path) -> None:
    def fn(i: int) -> object:
        if i == 40:
            raise ValueError("stop here")
        return make(i)

    store = LocalStore(tmp_path / "d")
    with pytest.raises(FunctionError):
        write(tmp_path / "d", fn=fn)
    refused(store, UsageError, "run the same call again")


def test_a_running_job_is_left_alone(store: LocalStore) -> None:
    store.path(".job").mkdir()
    with unfinished(store), pytest.raises(OutputBusy):
        repair(store)


def test_nothing_and_pruned_versions_cannot_be_rebuilt(tmp_path: Path, store: LocalStore) -> None:
    from millstream.format import Tombstone

    refused(LocalStore(tmp_path / "none"), DatasetNotFound, "nothing to rebuild from")
    stone = Tombstone(version=1, digest="00" * 32)
    manifest_file(store).write_bytes(stone.to_bytes())
    refused(store, CorruptData, r"versions \[1\] were pruned")


# The law ---------------------------------------------------------------------------------------

CHUNKS = 6


@pytest.fixture(scope="module")
def lost(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("lost") / "d", 5 * CHUNKS, chunk_size=5).root


@settings(max_examples=80)
@given(
    removed=st.sets(st.integers(0, CHUNKS - 1)),
    flipped=st.dictionaries(st.integers(0, CHUNKS - 1), st.integers(0, 10_000), max_size=2),
    in_header=st.booleans(),
    record=st.booleans(),
)
def test_never_another_manifest_than_the_lost_one(
    lost: Path, removed: set[int], flipped: dict[int, int], in_header: bool, record: bool
) -> None:
    with tempfile.TemporaryDirectory() as place:
        store = LocalStore(Path(shutil.copytree(lost, Path(place) / "d")))
        expected = load_version(store).manifest
        files = chunk_files(store)
        lose_manifest(store)
        if not record:
            shutil.rmtree(store.root / "runs")
        for number, offset in flipped.items():
            content = files[number].read_bytes()
            end = read_header(memoryview(content)).body if in_header else len(content)
            flip(files[number], offset % end)
        for number in removed:
            files[number].unlink()
        left = flipped.keys() - removed
        tail = removed == set(range(CHUNKS - len(removed), CHUNKS)) and len(removed) < CHUNKS
        try:
            done = repair(store)
        except MillstreamError:
            assert left or (removed if record else not tail)
            assert not store.path("versions").exists()
            return
        assert not left
        found = load_version(store).manifest
        if record:
            assert not removed
            assert found.to_bytes() == expected.to_bytes()
        else:
            assert tail
            assert any("could be missing" in note for note in done.notes)
            kept = CHUNKS - len(removed)
            assert found.chunks.digests.tolist() == expected.chunks.digests[:kept].tolist()
            assert found.schema.tree == expected.schema.tree


def test_the_record_is_read_from_runs(store: LocalStore) -> None:
    (path,) = (store.root / "runs").iterdir()
    record = json.loads(path.read_text())
    lose_manifest(store)
    record["report"]["bytes"] += 1
    path.write_text(json.dumps(record))
    refused(store, CorruptData, r"wrote 60 rows, .* bytes; its chunks here hold 60 rows")
