"""The laws of the cache that one process can see."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from objects import Object, local_descriptors, make, taken

from millstream.cache import Cache, Lease, default_root, locks
from millstream.cache.folder import FOLDER
from millstream.cache.locks import LockedFile
from millstream.errors import CorruptData, StorageError, UnsupportedError, UsageError


def names(cache: Cache) -> list[str]:
    return [entry.name for entry in cache.entries()]


def left(cache: Cache, folder: str) -> list[str]:
    return sorted(path.name for path in (cache.path / folder).iterdir())


def test_a_file_is_fetched_once_and_then_opened(tmp_path: Path) -> None:
    (thing,) = make(tmp_path, 1_000)
    cache = Cache(tmp_path, 5_000)
    for _ in range(3):
        taken(cache, thing).close()
    taken(Cache(tmp_path, 5_000), thing).close()
    assert thing.fetches() == 1
    assert cache.usage() == 1_000
    (entry,) = cache.entries()
    assert (entry.name, entry.bytes, entry.in_use) == (thing.name, 1_000, False)
    assert left(cache, "fetching") == left(cache, "partial") == []


def test_the_least_recently_used_goes_first(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 300)
    things = make(tmp_path, 100, 100, 100, 100)
    for thing in things[:3]:
        taken(cache, thing).close()
    for age, thing in enumerate(things[:3]):
        os.utime(cache.path / "files" / thing.name, (age, age))
    taken(cache, things[0]).close()  # used again
    taken(cache, things[3]).close()
    assert set(names(cache)) == {things[n].name for n in (0, 2, 3)}


def test_what_is_in_use_stays_and_nobody_waits_for_room(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 250)
    first, second, third = make(tmp_path, 100, 100, 100)
    with taken(cache, first), taken(cache, second):
        assert third.lease(cache) is None
        assert [entry.in_use for entry in cache.entries()] == [True, True]
        assert cache.clear() == []
    taken(cache, third).close()
    assert cache.usage() == 200
    assert [entry.bytes for entry in cache.clear()] == [100, 100]
    assert cache.usage() == 0


def test_a_mapped_file_that_was_evicted_reads_on(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 100)
    first, second = make(tmp_path, 100, 100)
    lease = taken(cache, first)
    lease.close()
    taken(cache, second).close()
    assert names(cache) == [second.name]
    assert lease.content == first.content


@pytest.mark.parametrize("limit", [0, 99])
def test_what_is_larger_than_the_limit_is_not_even_fetched(tmp_path: Path, limit: int) -> None:
    (thing,) = make(tmp_path, 100)
    assert thing.lease(Cache(tmp_path, limit)) is None
    assert thing.fetches() == 0


def test_a_lower_limit_makes_room_for_itself(tmp_path: Path) -> None:
    things = make(tmp_path, *[100] * 6)
    for thing in things[:5]:
        taken(Cache(tmp_path, 500), thing).close()
    smaller = Cache(tmp_path, 250)
    taken(smaller, things[5]).close()
    assert smaller.usage() == 200


# What can go wrong ---------------------------------------------------------------------------


@pytest.mark.parametrize("error", [RuntimeError("away"), FileNotFoundError("none"), SystemExit(3)])
def test_a_fetch_that_fails_leaves_nothing(tmp_path: Path, error: BaseException) -> None:
    (thing,) = make(tmp_path, 100)
    cache = Cache(tmp_path, 100)

    def fails() -> Iterator[bytes]:
        yield thing.content[:50]
        raise error

    before = local_descriptors()
    with pytest.raises(type(error)) as caught:
        cache.lease(thing.name, 100, fails)
    assert caught.value is error
    assert local_descriptors() == before
    assert left(cache, "files") == left(cache, "partial") == left(cache, "fetching") == []
    taken(cache, thing).close()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda content: content[:-1], "expected 100 bytes, 99 arrived"),
        (lambda content: content + b"1", "expected 100 bytes, 1.. or more arrived"),
        (lambda content: b"\0" + content[1:], "the digest"),
        (lambda content: b"", "expected 100 bytes, 0 arrived"),
    ],
)
def test_other_bytes_are_never_named(tmp_path: Path, change: object, words: str) -> None:
    (thing,) = make(tmp_path, 100)
    cache = Cache(tmp_path, 1_000)
    other = Object(change(thing.content), thing.log)  # type: ignore[operator]
    with pytest.raises(CorruptData, match=words) as caught:
        cache.lease(thing.name, 100, other.fetch)
    assert thing.name in str(caught.value)
    assert cache.usage() == 0
    assert left(cache, "partial") == []


def test_no_more_is_taken_than_was_reserved(tmp_path: Path) -> None:
    pieces = iter([b"x" * 60] * 9)
    with pytest.raises(CorruptData, match="120 or more arrived"):
        Cache(tmp_path, 1_000).lease("0" * 64, 100, lambda: pieces)
    assert len(list(pieces)) == 7


def test_without_verify_the_digest_is_not_compared(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 100)
    lease = cache.lease("0" * 64, 3, lambda: [b"abc"], verify=False)
    assert lease is not None
    assert not lease.is_intact()


def test_a_discarded_file_is_fetched_anew_and_its_successor_stays(tmp_path: Path) -> None:
    (thing,) = make(tmp_path, 100)
    cache = Cache(tmp_path, 1_000)
    bad = taken(cache, thing)
    assert bad.is_intact()
    cache.discard(bad)
    assert cache.usage() == 0
    with taken(cache, thing):
        assert thing.fetches() == 2
        cache.discard(bad)  # the other one, of which nobody said that it is bad
        assert cache.usage() == 100
    bad.close()


@pytest.mark.parametrize("between", ["share", "touch"])
def test_a_file_that_changes_while_it_is_opened_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, between: str
) -> None:
    """Replaced between its opening and its locking, or between that and its mapping."""
    (thing,) = make(tmp_path, 100)
    cache = Cache(tmp_path, 1_000)
    old = taken(cache, thing)
    real = getattr(LockedFile, between)

    def replace(self: LockedFile) -> None:
        monkeypatch.setattr(LockedFile, between, real)
        cache.discard(old)
        taken(cache, thing).close()
        real(self)

    monkeypatch.setattr(LockedFile, between, replace)
    with taken(cache, thing):
        assert thing.fetches() == 2
        assert [entry.in_use for entry in cache.entries()] == [True]
    old.close()


def test_a_cut_file_is_not_believed(tmp_path: Path) -> None:
    (thing,) = make(tmp_path, 100)
    cache = Cache(tmp_path, 1_000)
    taken(cache, thing).close()
    os.truncate(cache.path / "files" / thing.name, 50)
    assert cache.find(thing.name, 100) is None
    taken(cache, thing).close()
    assert thing.fetches() == 2


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("call", ["pwrite", "ftruncate", "open"])
def test_a_full_disk_is_like_a_full_cache_and_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    (thing,) = make(tmp_path, 100)
    cache = Cache(tmp_path, 1_000)

    def full(*arguments: object) -> int:
        if call == "open" and "partial" not in str(arguments[0]):
            return real(*arguments)
        raise OSError(number, "no room")

    real = getattr(os, call)
    with monkeypatch.context() as patch:
        patch.setattr(locks.os, call, full)
        with pytest.warns(RuntimeWarning, match="no room; make room, or lower the limit"):
            assert thing.lease(cache) is None
        assert thing.lease(cache) is None  # a second warning would be an error
    assert left(cache, "partial") == left(cache, "files") == []
    taken(cache, thing).close()


def test_a_folder_where_locks_exclude_nobody_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks.fcntl, "flock", lambda *_: None)
    with pytest.raises(StorageError, match="local disk with cache_dir="):
        Cache(tmp_path, 100)


def test_a_folder_without_locks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.EBADF, "Bad file descriptor")

    monkeypatch.setattr(locks.fcntl, "flock", flock)
    with pytest.raises(StorageError, match="cache_dir="):
        Cache(tmp_path, 100)


def test_a_system_without_flock_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("millstream.cache.cache.SUPPORTED", False)
    with pytest.raises(UnsupportedError, match="Linux or macOS"):
        Cache(tmp_path, 100)


@pytest.mark.parametrize(("name", "size"), [("../x", 9), ("A" * 64, 9), ("a" * 64, 0)])
def test_only_digests_are_names(tmp_path: Path, name: str, size: int) -> None:
    with pytest.raises(UsageError, match="64 hex digits"):
        Cache(tmp_path, 100).lease(name, size, list)


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cache_dir="):
        Cache(tmp_path / "file", 100)
    with pytest.raises(UsageError, match="-1 bytes"):
        Cache(tmp_path, -1)


# What is in the folder -----------------------------------------------------------------------


def test_the_folder_is_private_and_one_that_exists_is_used_as_it_is(tmp_path: Path) -> None:
    def modes(cache: Cache) -> set[int]:
        folders = [cache.path, *(cache.path / f for f in ("files", "partial", "fetching"))]
        return {stat.S_IMODE(folder.stat().st_mode) for folder in folders}

    assert modes(Cache(tmp_path / "new", 100)) == {0o700}
    shared = tmp_path / "shared" / FOLDER
    shared.mkdir(parents=True)
    shared.chmod(0o770)
    assert modes(Cache(tmp_path / "shared", 100)) == {0o770}


@pytest.mark.parametrize("inner", ["", "files", "partial", "fetching"])
def test_a_folder_behind_a_symbolic_link_is_refused(tmp_path: Path, inner: str) -> None:
    (tmp_path / "data").mkdir()
    link = tmp_path / "root" / FOLDER / inner
    link.parent.mkdir(parents=True)
    link.symlink_to(tmp_path / "data")
    with pytest.raises(UsageError, match="symbolic link"):
        Cache(tmp_path / "root", 100)
    if inner:
        link.unlink()
        link.write_text("mine")
        with pytest.raises(UsageError, match="is a file"):
            Cache(tmp_path / "root", 100)


def test_a_folder_that_was_removed_is_made_again(tmp_path: Path) -> None:
    first, second = make(tmp_path, 100, 100)
    cache = Cache(tmp_path / "cache", 1_000)
    with taken(cache, first) as lease:
        shutil.rmtree(tmp_path / "cache")
        taken(cache, second).close()
        assert lease.content == first.content
    assert names(cache) == [second.name]
    assert (cache.path / "CACHEDIR.TAG").read_text().startswith("Signature: 8a477f597d28d172")


def test_nothing_that_we_did_not_make_is_removed(tmp_path: Path) -> None:
    things = make(tmp_path, *[100] * 8)
    root = tmp_path / "dataset"  # whoever names a dataset as the cache's folder keeps it
    digests = [thing.name for thing in things]
    ours = root / FOLDER
    foreign = [root / "latest", root / "chunks" / digests[0], ours / "notes.txt"]
    for folder in ("files", "partial", "fetching"):
        foreign += [ours / folder / odd for odd in ("README", "a" * 63, "B" * 64, digests[0] + "~")]
    for path in foreign:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    for thing, folder in zip(things[1:4], ("files", "partial", "fetching"), strict=True):
        (ours / folder / thing.name).symlink_to(root / "latest")
    for thing, folder in zip(things[4:7], ("files", "partial", "fetching"), strict=True):
        (ours / folder / thing.name).mkdir()
    links = [path for path in ours.glob("*/*") if path.is_symlink() or path.is_dir()]
    assert len(links) == 6

    cache = Cache(root, 150)
    for finish in (Lease.close, cache.discard, Lease.close):
        for number, thing in enumerate(things):  # the second evicts the first
            lease = thing.lease(cache)
            assert (lease is not None) == (number in (0, 7))
            if lease is not None:
                finish(lease)
                lease.close()
        cache.clear()
    assert all(path.read_text() == "mine" for path in foreign)
    assert all(path.is_symlink() or path.is_dir() for path in links)


def test_no_descriptor_is_left(tmp_path: Path) -> None:
    things = make(tmp_path, *[100] * 9)
    before = local_descriptors()
    cache = Cache(tmp_path, 500)
    leases = [thing.lease(cache) for thing in things]
    assert local_descriptors() == before + 2 * 5  # the lock and the mapping of each
    for lease in leases:
        if lease is not None:
            lease.close()
            lease.close()
    assert cache.clear()
    assert cache.entries() == []
    del lease, leases
    assert local_descriptors() == before


def test_the_default_is_a_folder_of_the_user() -> None:
    assert default_root().name == "millstream"
    assert Path.home() in default_root().parents
