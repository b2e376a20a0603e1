"""Whatever is done in whatever order: the budget holds, and None means that it does not fit."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from objects import Object, ended_well, forked, kill, make

from millstream.cache import Cache, Lease
from millstream.cache.folder import Folder

LIMIT = 100
SIZES = (1, 10, 10, 20, 30, 40, 55, 99, 100, 101)


def on_disk(folder: Path) -> int:
    files = [*(folder / "files").iterdir(), *(folder / "partial").iterdir()]
    return sum(path.stat().st_size for path in files)


class Budget(RuleBasedStateMachine):
    """A folder, two that use it and do not know of each other, random leases."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.things = make(self.root, *SIZES)
        self.cache, self.other = Cache(self.root, LIMIT), Cache(self.root, LIMIT)
        self.leases: list[Lease] = []

    def in_use(self) -> int:
        return sum({lease.name: len(lease.content) for lease in self.leases}.values())

    @rule(number=st.integers(0, len(SIZES) - 1), ours=st.booleans())
    def lease(self, number: int, ours: bool) -> None:
        thing, before = self.things[number], self.cache.entries()
        lease = thing.lease(self.cache if ours else self.other)
        if lease is None:
            assert thing.size + self.in_use() > LIMIT
            return
        self.leases.append(lease)
        after = {entry.name for entry in self.cache.entries()}
        gone = [entry for entry in before if entry.name not in after]
        kept = [entry for entry in before if entry.name in after and not entry.in_use]
        assert not any(entry.in_use for entry in gone)
        if gone and kept:
            assert max(e.last_used for e in gone) <= min(e.last_used for e in kept)
        # No more was evicted than there had to be.
        if gone:
            assert self.cache.usage() + gone[-1].bytes > LIMIT

    @rule(number=st.integers(0, 99))
    def close(self, number: int) -> None:
        if self.leases:
            self.leases.pop(number % len(self.leases)).close()

    @rule()
    def clear(self) -> None:
        self.cache.clear()
        assert self.cache.usage() == self.in_use()

    @invariant()
    def holds(self) -> None:
        assert on_disk(self.cache.path) == self.cache.usage() <= LIMIT
        used = {entry.name for entry in self.cache.entries() if entry.in_use}
        assert used == {lease.name for lease in self.leases}

    def teardown(self) -> None:
        for lease in self.leases:
            lease.close()
        shutil.rmtree(self.root)


TestBudget = Budget.TestCase
TestBudget.settings = settings(max_examples=40, stateful_step_count=30)


def watch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has the folder for itself looks at it before and after what it does."""
    changing = Folder.changing

    @contextmanager
    def watched(self: Folder) -> Iterator[None]:
        with changing(self):
            assert on_disk(self.path) <= LIMIT
            yield
            assert on_disk(self.path) <= LIMIT

    monkeypatch.setattr(Folder, "changing", watched)


def use(root: Path, things: list[Object], seed: int) -> None:
    """Random leases, some held for a while."""
    numbers, cache = random.Random(seed), Cache(root, LIMIT)
    held: list[Lease] = []
    for _ in range(150):
        lease = numbers.choice(things).lease(cache)
        if lease is not None:
            held.append(lease)
        if numbers.random() < 0.05:
            cache.clear()
        if held and numbers.random() < 0.1:
            cache.discard(held[0])
        while len(held) > numbers.randrange(4):
            held.pop(0).close()


def test_several_processes_never_exceed_the_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch(monkeypatch)
    things = make(tmp_path, *SIZES)
    pids = [forked(lambda seed=seed: use(tmp_path, things, seed)) for seed in range(5)]
    assert [ended_well(pid) for pid in pids] == [True] * 5
    assert on_disk(Cache(tmp_path, LIMIT).path) <= LIMIT


def test_nor_do_processes_that_are_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watch(monkeypatch)
    things = make(tmp_path, *SIZES)
    steady = forked(lambda: use(tmp_path, things, 99))
    for seed in range(20):
        done = forked(lambda seed=seed: use(tmp_path, things[:2], seed))
        victim = forked(lambda seed=seed: use(tmp_path, things, -seed))
        assert ended_well(done)
        kill(victim)
    assert ended_well(steady)
    cache = Cache(tmp_path, LIMIT)
    cache.clear()
    assert on_disk(cache.path) == 0
