"""The cache knows what lies in it without listing it again, and is never wrong about it."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from objects import Object, ended_well, forked, make, taken

from millstream.cache import Cache, shelf
from millstream.cache.locks import LockedFile


class Listings:
    """How often the complete files were listed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        real = os.scandir

        def scandir(path: Path) -> object:
            self.count += path.name == "files"
            return real(path)

        monkeypatch.setattr(shelf.os, "scandir", scandir)


@pytest.fixture
def listings(monkeypatch: pytest.MonkeyPatch) -> Listings:
    return Listings(monkeypatch)


def names(cache: Cache) -> set[str]:
    return {path.name for path in (cache.path / "files").iterdir()}


def fill(cache: Cache, things: list[Object]) -> None:
    for age, thing in enumerate(things):
        taken(cache, thing).close()
        os.utime(cache.path / "files" / thing.name, (age, age))


def test_who_fetches_alone_lists_once(tmp_path: Path, listings: Listings) -> None:
    things = make(tmp_path, *[10] * 50)
    cache = Cache(tmp_path, 100)
    for thing in things:
        taken(cache, thing).close()
    assert listings.count == 1
    assert names(cache) == {thing.name for thing in things[-10:]}


@pytest.mark.parametrize("other", ["process", "cache", "hand"])
def test_what_others_change_is_seen(tmp_path: Path, listings: Listings, other: str) -> None:
    first, theirs, last = make(tmp_path, 40, 40, 40)
    cache = Cache(tmp_path, 100)
    taken(cache, first).close()
    listings.count = 0
    if other == "process":
        assert ended_well(forked(lambda: taken(Cache(tmp_path, 100), theirs).close()))
    elif other == "cache":
        taken(Cache(tmp_path, 100), theirs).close()
        listings.count = 0
    else:
        (cache.path / "files" / first.name).unlink()
    taken(cache, last).close()
    assert listings.count == 1
    assert names(cache) == {last.name} | ({theirs.name} if other != "hand" else set())


def test_a_folder_whose_time_cannot_be_set_is_listed_each_time(
    tmp_path: Path, listings: Listings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As that of another user, where many may write."""
    real = os.utime

    def refused(path: object, *arguments: object, **named: object) -> None:
        if isinstance(path, Path) and path.is_dir():
            raise PermissionError(errno.EPERM, "not the owner")
        real(path, *arguments, **named)  # type: ignore[call-overload]

    monkeypatch.setattr(shelf.os, "utime", refused)
    things = make(tmp_path, *[10] * 20)
    cache = Cache(tmp_path, 50)
    for thing in things:
        taken(cache, thing).close()
    assert listings.count >= 20
    assert names(cache) == {thing.name for thing in things[-5:]}


def test_what_was_used_since_it_was_listed_stays(tmp_path: Path) -> None:
    things = make(tmp_path, *[10] * 6)
    cache = Cache(tmp_path, 50)
    fill(cache, things[:5])
    taken(cache, things[0]).close()
    taken(cache, things[5]).close()
    assert names(cache) == {thing.name for thing in (things[0], *things[2:])}


# A disk that is smaller than the budget ---------------------------------------------------------


@contextmanager
def disk_of(size: int, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Has no room for more than so many bytes of complete files and one on its way."""
    real = LockedFile.allocate

    def allocate(self: LockedFile, wanted: int) -> None:
        used = sum(path.stat().st_size for path in (cache.path / "files").iterdir())
        if used + wanted > size:
            raise OSError(errno.ENOSPC, "no room")
        real(self, wanted)

    with monkeypatch.context() as patch:
        patch.setattr(LockedFile, "allocate", allocate)
        yield


def test_a_full_disk_makes_room_as_a_full_budget_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    things = make(tmp_path, 10, 10, 10, 10, 25)
    cache = Cache(tmp_path, 1_000)
    with disk_of(40, cache, monkeypatch):
        fill(cache, things[:4])
        taken(cache, things[4]).close()
    assert names(cache) == {things[3].name, things[4].name}


def test_a_full_disk_takes_nothing_that_is_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used, idle, wanted = make(tmp_path, 10, 10, 30)
    cache = Cache(tmp_path, 1_000)
    with disk_of(35, cache, monkeypatch):
        taken(cache, idle).close()
        with taken(cache, used), pytest.warns(RuntimeWarning, match="no room"):
            assert wanted.lease(cache) is None
            assert names(cache) == {used.name}
        taken(cache, wanted).close()
    assert not list((cache.path / "partial").iterdir())
