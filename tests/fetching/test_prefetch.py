"""Going ahead of a stream: in its order, within a budget, and no longer than it lasts."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from held import PATIENCE, downloads, objects
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream.errors import StorageError
from millstream.reading.fetching.asks import ListedNeeds, Need, Needs, Presence, Wanted, as_listed
from millstream.reading.fetching.downloads import Downloads
from millstream.reading.fetching.prefetch import MOST_COUNTED, Prefetch, Told, Unheld
from millstream.store import ObjectInfo

SIZE = 1_000


@contextmanager
def prefetch(made: Downloads, needs: Sequence[Need], budget: int) -> Iterator[Prefetch]:
    one = Prefetch(made, needs, budget)
    try:
        yield one
    finally:
        one.close()
        one.thread.join(PATIENCE)
        assert not one.thread.is_alive()
        assert not any(entry.in_use for entry in made.cache.entries())


def in_turn(wanted: Sequence[Wanted], rows: int = 10) -> list[Need]:
    """Each is read for so many positions, one after another."""
    return [
        Need(wanted=one, first=number * rows, last=(number + 1) * rows - 1)
        for number, one in enumerate(wanted)
    ]


def until(one: Prefetch, holds: object) -> None:
    assert callable(holds)
    with one._changed:
        assert one._changed.wait_for(holds, PATIENCE)


def held(made: Downloads) -> set[str]:
    return {entry.name for entry in made.cache.entries() if entry.in_use}


def test_it_holds_as_much_as_it_may_and_goes_on_as_the_stream_does(tmp_path: Path) -> None:
    store, wanted = objects(*[SIZE] * 6)
    with (
        downloads(store, tmp_path) as made,
        prefetch(made, in_turn(wanted), 2 * SIZE + 999) as one,
    ):
        for number in range(6):
            ahead = {w.name for w in wanted[number : number + 2]}
            until(one, lambda ahead=ahead: len(one._held) == len(ahead) and not one._coming)
            assert held(made) == ahead
            assert len(store.asked) == min(number + 2, 6)
            one.at(10 * number + 9)  # its last position is still to come
            assert held(made) == ahead
            one.at(10 * number + 10)
        assert held(made) == set()
        one.thread.join(PATIENCE)
        assert not one.thread.is_alive()
    assert [key for key, _ in store.asked] == [w.key for w in wanted]


def test_what_is_on_its_way_counts(tmp_path: Path) -> None:
    store, wanted = objects(*[SIZE] * 6)
    store.open = False
    with (
        downloads(store, tmp_path) as made,
        prefetch(made, in_turn(wanted), 3 * SIZE) as one,
    ):
        store.await_requests(3)
        until(one, lambda: one._coming == 3)
        assert made.cache.usage() == 3 * SIZE
        store.answer_all()
        until(one, lambda: len(one._held) == 3)
        assert len(store.asked) == 3


def test_a_budget_smaller_than_an_object_lets_one_in(tmp_path: Path) -> None:
    store, wanted = objects(*[SIZE] * 3)
    with downloads(store, tmp_path) as made, prefetch(made, in_turn(wanted), 1) as one:
        for number in range(3):
            until(one, lambda: len(one._held) == 1)
            assert held(made) == {wanted[number].name}
            one.at(10 * number + 10)


def test_what_the_stream_has_passed_is_not_fetched(tmp_path: Path) -> None:
    store, wanted = objects(*[SIZE] * 5)
    with downloads(store, tmp_path) as made, prefetch(made, in_turn(wanted), SIZE) as one:
        until(one, lambda: len(one._held) == 1)
        one.at(35)
        until(one, lambda: len(one._held) == 1 and not one._coming)
        assert held(made) == {wanted[3].name}
    assert [key for key, _ in store.asked] == [wanted[0].key, wanted[3].key]


def test_an_error_is_left_to_who_reads_and_the_rest_still_comes(tmp_path: Path) -> None:
    store, wanted = objects(*[SIZE] * 4)
    store.errors[wanted[1].key] = StorageError("it is away")
    with downloads(store, tmp_path) as made, prefetch(made, in_turn(wanted), 9 * SIZE) as one:
        until(one, lambda: len(one._held) == 3 and not one._coming)
        with pytest.raises(StorageError, match="it is away"):
            made.fill([(wanted[1], [(0, 1)])])
        assert made.fill([(wanted[2], [(0, 1)])]).presence == [Presence.WHOLE]


def test_the_end_lets_go_even_of_what_comes_later(tmp_path: Path) -> None:
    store, wanted = objects(*[SIZE] * 2)
    store.open = False
    with downloads(store, tmp_path) as made:
        with prefetch(made, in_turn(wanted), 9 * SIZE) as one:
            store.await_requests(2)
        store.answer_all()
        assert made.fill([(w, [(0, SIZE)]) for w in wanted]).presence == [Presence.WHOLE] * 2
        until(one, lambda: not one._coming)
        assert held(made) == set()


def test_what_is_there_is_held_without_a_request(tmp_path: Path) -> None:
    store, wanted = objects(*[SIZE] * 3)
    with downloads(store, tmp_path) as made:
        made.fill([(w, [(0, 1)]) for w in wanted])
        made.fill([(w, [(0, SIZE)]) for w in wanted])
        count = len(store.asked)
        with prefetch(made, in_turn(wanted), 9 * SIZE) as one:
            until(one, lambda: len(one._held) == 3)
        assert len(store.asked) == count == 3


@settings(max_examples=40)
@given(st.data())
def test_it_never_holds_more_than_its_budget_but_for_one(data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.integers(1, 5_000), min_size=1, max_size=12))
    budget = data.draw(st.integers(0, 12_000))
    store, wanted = objects(*sizes)
    draw = random.Random(data.draw(st.integers(0, 999)))
    # Strands that overlap, as lanes do.
    needs = sorted(
        (
            Need(wanted=one, first=first, last=first + draw.randrange(30))
            for one in wanted
            for first in [draw.randrange(100)]
        ),
        key=lambda need: need.first,
    )
    with tempfile.TemporaryDirectory() as place, downloads(store, Path(place)) as made:
        most = max(budget, max(sizes))
        with prefetch(made, needs, budget) as one:
            for position in range(0, 140, 7):
                one.at(position)
                with one._changed:
                    leased = sum(len(lease.content) for _, _, _, lease in one._held)
                    assert leased <= one._bytes <= most
                    assert all(last >= position for last, *_ in one._held)
            one.thread.join(PATIENCE)
            until(one, lambda: not one._coming)
            assert one._bytes == 0
    assert len(store.asked) <= len(sizes)


def test_needs_travel_as_arrays() -> None:
    _, wanted = objects(5, 7, 9)
    needs = Needs(
        folder="chunks/",
        digests=np.array([list(bytes.fromhex(w.name)) for w in wanted], np.uint8),
        sizes=np.array([w.size for w in wanted]),
        object=np.array([2, 0, 2]),
        first=np.array([0, 4, 6]),
        last=np.array([3, 5, 9]),
    )
    assert list(needs) == [
        Need(wanted=wanted[2], first=0, last=3),
        Need(wanted=wanted[0], first=4, last=5),
        Need(wanted=wanted[2], first=6, last=9),
    ]
    assert needs.nbytes == 14


# Needs that are told bit by bit, of objects that are not held ------------------------------------


@contextmanager
def told(made: Downloads, budget: int) -> Iterator[tuple[Told, Prefetch]]:
    needs = Told()
    one = Prefetch(Unheld(made), needs, budget, most=MOST_COUNTED)
    try:
        yield needs, one
    finally:
        one.close()
        needs.end()
        one.thread.join(PATIENCE)
        assert not one.thread.is_alive()


def test_what_is_told_is_fetched_within_the_budget_and_not_held(tmp_path: Path) -> None:
    store, wanted = objects(*[SIZE] * 6)
    needs = in_turn(wanted)
    with downloads(store, tmp_path) as made, told(made, 2 * SIZE) as (some, one):
        some.tell(needs[:1])
        until(one, lambda: len(one._held) == 1)
        some.tell(needs[1:4])
        until(one, lambda: len(one._held) == 2 and not one._coming)
        assert held(made) == set()
        assert [key for key, _ in store.asked] == [w.key for w in wanted[:2]]
        one.at(10)
        until(one, lambda: len(store.asked) == 3)
        some.tell(needs[4:])
        one.at(50)
        until(one, lambda: {w.key for w in wanted[5:]} <= {key for key, _ in store.asked})
    assert one._bytes <= 2 * SIZE


def test_what_comes_is_counted_beyond_the_descriptors_that_there_are(tmp_path: Path) -> None:
    store, wanted = objects(*[10] * 300)
    with downloads(store, tmp_path) as made, told(made, 1 << 20) as (some, one):
        some.tell(in_turn(wanted, 1))
        until(one, lambda: len(one._held) == 300)
    assert len(store.asked) == 300


def test_files_are_named_by_what_was_listed() -> None:
    listed = [
        ObjectInfo(key=key, size=size, modified=1.0, tag=tag)
        for key, size, tag in [("a", 1, ""), ("a", 1, "0" * 16), ("a", 2, ""), ("b", 1, "")]
    ]
    names = {as_listed(place, info).name for place in ("s3://x", "s3://y") for info in listed}
    assert len(names) == 8
    needs = list(ListedNeeds(place="s3://x", listed=listed, positions=[3, 3, 9, 11]))
    assert [(need.wanted, need.first) for need in needs] == [
        (as_listed("s3://x", info), at) for info, at in zip(listed, [3, 3, 9, 11], strict=True)
    ]
