"""The cache among processes: who fetches, who waits, and what is left of those who are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from objects import Object, ended_well, forked, kill, local_descriptors, make, taken

from millstream.cache import Cache
from millstream.cache.locks import LockedFile


class Gate:
    """Where a process stops until it is let through, or killed."""

    def __init__(self) -> None:
        self._arrived, self._open = os.pipe(), os.pipe()

    def arrive(self) -> None:
        os.write(self._arrived[1], b"x")

    def stop(self) -> None:
        self.arrive()
        os.read(self._open[0], 1)

    def wait_for_one(self) -> None:
        assert os.read(self._arrived[0], 1) == b"x"

    def open(self) -> None:
        os.write(self._open[1], b"x")

    def close(self) -> None:
        for descriptor in self._arrived + self._open:
            os.close(descriptor)


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.close()


def used(cache: Cache) -> set[str]:
    return {entry.name for entry in cache.entries() if entry.in_use}


def stopping(thing: Object, gate: Gate) -> Callable[[], Iterator[bytes]]:
    """A fetch that stops in its middle."""

    def fetch() -> Iterator[bytes]:
        pieces = thing.fetch()
        yield next(pieces)
        gate.stop()
        yield from pieces

    return fetch


def test_many_processes_fetch_each_file_once(tmp_path: Path) -> None:
    things = make(tmp_path, *[3_000_000] * 6)

    def lease_all(first: int) -> None:
        cache = Cache(tmp_path, 1 << 30)
        for thing in things[first:] + things[:first]:
            taken(cache, thing)

    pids = [forked(lambda number=number: lease_all(number % 3)) for number in range(6)]
    assert [ended_well(pid) for pid in pids] == [True] * 6
    assert [thing.fetches() for thing in things] == [1] * 6


def test_those_who_wait_get_what_was_fetched(tmp_path: Path, gate: Gate) -> None:
    (thing,) = make(tmp_path, 1_000)
    cache = Cache(tmp_path, 1_000)
    fetcher = forked(lambda: cache.lease(thing.name, 1_000, stopping(thing, gate)))
    gate.wait_for_one()
    waiters = [forked(lambda: taken(cache, thing)) for _ in range(4)]
    gate.open()
    assert [ended_well(pid) for pid in [fetcher, *waiters]] == [True] * 5
    assert thing.fetches() == 1


def test_a_killed_fetcher_blocks_nobody(tmp_path: Path, gate: Gate) -> None:
    (thing,) = make(tmp_path, 1_000)
    cache = Cache(tmp_path, 1_000)
    fetcher = forked(lambda: cache.lease(thing.name, 1_000, stopping(thing, gate)))
    gate.wait_for_one()
    waiters = [forked(lambda: lease_and_tell(cache, thing, gate)) for _ in range(3)]
    for _ in waiters:
        gate.wait_for_one()
    kill(fetcher)
    assert [ended_well(pid) for pid in waiters] == [True] * 3
    assert thing.fetches() == 2
    assert not list((cache.path / "partial").iterdir())
    assert not list((cache.path / "fetching").iterdir())


def lease_and_tell(cache: Cache, thing: Object, gate: Gate) -> None:
    """Says so just before it first waits for a lock."""
    real = LockedFile.exclude

    def exclude(self: LockedFile) -> None:
        LockedFile.exclude = real  # type: ignore[method-assign]
        gate.arrive()
        real(self)

    LockedFile.exclude = exclude  # type: ignore[method-assign]
    taken(cache, thing)


def test_a_file_on_its_way_has_its_place(tmp_path: Path, gate: Gate) -> None:
    first, second = make(tmp_path, 700, 400)
    cache = Cache(tmp_path, 1_000)
    fetcher = forked(lambda: cache.lease(first.name, 700, stopping(first, gate)))
    gate.wait_for_one()
    assert cache.usage() == 700
    assert second.lease(cache) is None
    kill(fetcher)
    taken(cache, second).close()
    assert cache.usage() == 400


def test_the_locks_of_a_killed_user_end_with_it(tmp_path: Path, gate: Gate) -> None:
    (thing,) = make(tmp_path, 1_000)
    cache = Cache(tmp_path, 1_000)

    def use() -> None:
        with taken(cache, thing):
            gate.stop()

    user = forked(use)
    gate.wait_for_one()
    assert cache.clear() == []
    kill(user)
    assert [entry.name for entry in cache.clear()] == [thing.name]


def test_a_forked_child_keeps_no_lock_and_reads_on(tmp_path: Path, gate: Gate) -> None:
    first, second = make(tmp_path, 1_000, 1_000)
    cache = Cache(tmp_path, 1_000)
    lease = taken(cache, first)

    def read() -> None:
        gate.stop()
        assert lease.content == first.content
        lease.close()  # which is not its to give back

    child = forked(read)
    gate.wait_for_one()
    assert cache.clear() == []
    lease.close()
    with taken(cache, second):  # there is room for one: the first was evicted
        gate.open()
        assert ended_well(child)
        assert cache.entries()[0].in_use


def test_a_child_keeps_no_lock_of_a_parent_that_was_killed(tmp_path: Path, gate: Gate) -> None:
    (thing,) = make(tmp_path, 1_000)
    cache = Cache(tmp_path, 1_000)

    def use() -> None:
        with taken(cache, thing):
            if os.fork():
                signal.pause()
            gate.stop()
            os._exit(0)

    parent = forked(use)
    gate.wait_for_one()
    assert used(cache) == {thing.name}
    kill(parent)
    try:
        assert used(cache) == set()
    finally:
        gate.open()


def test_a_child_may_use_the_cache_by_itself(tmp_path: Path) -> None:
    first, second = make(tmp_path, 1_000, 1_000)
    cache = Cache(tmp_path, 2_000)
    lease = taken(cache, first)

    def work() -> None:
        before = local_descriptors()
        with taken(cache, first), taken(cache, second):
            lease.close()  # whose descriptor now has another file
            assert used(cache) == {first.name, second.name}
        assert used(cache) == {first.name}  # the parent's
        assert local_descriptors() == before

    assert ended_well(forked(work))
    assert used(cache) == {first.name}
    lease.close()
    assert used(cache) == set()


def test_forks_during_leases_of_other_threads(tmp_path: Path) -> None:
    things = make(tmp_path, *[10] * 5)
    cache, done = Cache(tmp_path, 30), threading.Event()

    def work() -> None:
        while not done.is_set():
            for thing in things:
                taken(cache, thing).close()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        ends = [ended_well(forked(lambda: taken(cache, things[0]))) for _ in range(50)]
    finally:
        done.set()
        thread.join()
    assert ends == [True] * 50


def test_a_program_that_is_being_started_keeps_no_lock(tmp_path: Path) -> None:
    (thing,) = make(tmp_path, 1_000)
    cache = Cache(tmp_path, 1_000)
    lease = taken(cache, thing)
    # What it has of its parent, from its fork until it is executed.
    copy = os.dup(lease._lock._descriptor)
    lease.close()
    assert len(cache.clear()) == 1
    os.close(copy)
    with taken(cache, thing) as lease, subprocess.Popen(["cat"], stdin=subprocess.PIPE) as program:
        lease.close()
        assert program.poll() is None
        assert len(cache.clear()) == 1


def test_threads_fetch_each_file_once(tmp_path: Path) -> None:
    things = make(tmp_path, *[1_000_000] * 4)
    cache = Cache(tmp_path, 1 << 30)
    threads = [
        threading.Thread(target=lambda: [taken(cache, thing).close() for thing in things])
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [thing.fetches() for thing in things] == [1] * 4
