"""Objects into memory: each fetched once for who takes it, ahead of him or when he asks."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from held import PATIENCE, HeldStore

from millstream.errors import StorageError
from millstream.reading.fetching.asks import ListedNeeds, Presence, Wanted, as_listed
from millstream.reading.fetching.gate import Gate
from millstream.reading.fetching.memory import InMemory, Kept, MemoryAhead
from millstream.reading.fetching.prefetch import Prefetch
from millstream.reading.fetching.turns import Turns
from millstream.store import ObjectInfo

DUE = (1.0, 1.0)


class ListedStore(HeldStore):
    """The same, asked for what was listed."""

    def get_listed(self, listed: ObjectInfo, span: tuple[int, int] | None = None) -> bytes:
        return self.get(listed.key, span or (0, listed.size))


CONTENTS = {f"k{number}": b"%d" % number * 500 for number in range(8)}
LISTED = [ObjectInfo(key=key, size=len(c), modified=0.0) for key, c in CONTENTS.items()]
WANTED = [as_listed("here", info) for info in LISTED]


@contextmanager
def in_memory(*, at_once: int = 4) -> Iterator[tuple[ListedStore, InMemory]]:
    store, before = ListedStore(CONTENTS), set(threading.enumerate())
    turns = Turns(Gate(lambda: 0.0, first=at_once, most=at_once), 8)
    try:
        yield store, InMemory(store, turns)
    finally:
        turns.close()
        store.answer_all()
        for thread in set(threading.enumerate()) - before:
            thread.join(PATIENCE)
            assert not thread.is_alive()


def begun(ahead: MemoryAhead, wanted: Wanted) -> Kept:
    kept = ahead.begin(wanted, DUE, wait=False)
    assert isinstance(kept, Kept)
    return kept


def keys(store: ListedStore) -> list[str]:
    return [key for key, _ in store.asked]


def contents(wanted: list[Wanted]) -> list[bytes]:
    return [CONTENTS[one.key] for one in wanted]


def test_what_was_begun_is_taken_without_another_request() -> None:
    with in_memory() as (store, memory):
        ahead = MemoryAhead(memory)
        for one in [begun(ahead, one) for one in WANTED[:3]]:
            one.done.result(PATIENCE)
        assert memory.take(WANTED[:4]) == contents(WANTED[:4])
        assert sorted(keys(store)) == ["k0", "k1", "k2", "k3"]
        assert memory._kept == {}
        # Each is for one taker.
        assert memory.take(WANTED[:1]) == contents(WANTED[:1])
        assert keys(store).count("k0") == 2


def test_what_is_on_its_way_is_waited_for_and_what_has_no_turn_yet_gets_one() -> None:
    with in_memory(at_once=2) as (store, memory), ThreadPoolExecutor(1) as pool:
        store.open, ahead = False, MemoryAhead(memory)
        for number, one in enumerate(WANTED[:5]):
            ahead.begin(one, (float(number), 0.0), wait=False)
        store.await_requests(2)
        taken = pool.submit(memory.take, [WANTED[0], WANTED[4]])
        store.answer("k0", (0, 500))
        store.await_requests(3)
        store.answer("k1", (0, 500))
        store.await_requests(4)
        assert "k4" in keys(store)  # before those that are due before it, but for one perhaps
        store.answer_all()
        assert taken.result(PATIENCE) == contents([WANTED[0], WANTED[4]])


def test_an_object_wanted_twice_comes_twice() -> None:
    with in_memory() as (store, memory):
        ahead = MemoryAhead(memory)
        for _ in range(2):
            begun(ahead, WANTED[0]).done.result(PATIENCE)
        assert memory.take([WANTED[0], WANTED[0]]) == contents([WANTED[0]] * 2)
        assert keys(store) == ["k0", "k0"]


def test_an_error_reaches_who_takes_and_the_next_asks_anew() -> None:
    with in_memory() as (store, memory):
        store.errors["k0"] = StorageError("it is away")
        one = begun(MemoryAhead(memory), WANTED[0])
        assert one.done.exception(PATIENCE) is not None
        with pytest.raises(StorageError, match="it is away"):
            memory.take(WANTED[:2])
        store.errors.clear()
        assert memory.take(WANTED[:2]) == contents(WANTED[:2])


def test_what_the_stream_has_passed_is_let_go() -> None:
    needs = ListedNeeds(place="here", listed=LISTED, positions=range(8))
    with in_memory() as (store, memory):
        one = Prefetch(MemoryAhead(memory), needs, 3_000)
        try:
            with one._changed:
                assert one._changed.wait_for(lambda: len(one._held) == 6, PATIENCE)
            assert memory.take(WANTED[1:2]) == contents(WANTED[1:2])
            one.at(3)
            with one._changed:
                assert one._changed.wait_for(lambda: len(one._held) == 5, PATIENCE)
            assert {w.name for w in WANTED[3:]} == set(memory._kept)
            assert sorted(keys(store)) == sorted(CONTENTS)
        finally:
            one.close()
            one.thread.join(PATIENCE)
        assert memory._kept == {}


def test_what_one_stream_has_left_the_next_one_finds() -> None:
    with in_memory() as (store, memory):
        first, second, third = (MemoryAhead(memory) for _ in range(3))

        def begin(ahead: MemoryAhead, *wanted: Wanted) -> list[Kept]:
            kept = [begun(ahead, one) for one in wanted]
            for one in kept:
                one.done.result(PATIENCE)
            return kept

        before = begin(first, *WANTED[:4])
        begin(second, WANTED[0])  # while the first is still there
        first.leave()
        for one in before:
            one.close()  # which is no longer the first one's to let go of
        assert begin(second, WANTED[1])[0].done.result() == CONTENTS["k1"]
        assert sorted(keys(store)) == ["k0", "k1", "k2", "k3"]
        second.leave()  # what nobody wanted since the one before has left goes now
        assert set(memory._kept) == {WANTED[0].name, WANTED[1].name}
        begin(third, WANTED[0])[0].close()
        assert set(memory._kept) == {WANTED[1].name}
        third.leave()
        assert memory._kept == {}
        assert len(store.asked) == 4


def test_what_a_reader_has_taken_before_is_not_fetched_for_him() -> None:
    with in_memory() as (store, memory):
        memory.take([*WANTED[:3], WANTED[0]])
        ahead = MemoryAhead(memory)
        for _ in range(2):
            assert ahead.begin(WANTED[0], DUE, wait=False) is Presence.NONE
        ahead.skip(WANTED[1])
        begun(ahead, WANTED[1]).done.result(PATIENCE)
        assert sorted(keys(store)) == ["k0", "k0", "k1", "k1", "k2"]
        # What the stream before has left, the next one need not begin either.
        ahead.leave()
        memory.take([WANTED[1]])
        assert MemoryAhead(memory).begin(WANTED[1], DUE, wait=False) is Presence.NONE
        assert len(store.asked) == 5
