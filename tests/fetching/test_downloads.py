"""Each object once, whoever asks for it; its pieces as they come; its errors to all who wait."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest
from held import PATIENCE, HeldStore, downloads, objects

from millstream.cache import Cache
from millstream.errors import CorruptData, StorageError
from millstream.reading.fetching import arriving
from millstream.reading.fetching.arriving import Arriving
from millstream.reading.fetching.asks import Filled, Piece, Presence, Wanted
from millstream.reading.fetching.downloads import Downloads

KIB = 1_024


@pytest.fixture(autouse=True)
def small_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arriving, "RANGE_BYTES", KIB)


def in_cache(made: Downloads, store: HeldStore, wanted: Wanted) -> bool:
    lease = made.cache.find(wanted.name, wanted.size)
    if lease is not None:
        assert lease.content == store.objects[wanted.key]
        lease.close()
    return lease is not None


def whole(wanted: Wanted) -> list[tuple[Wanted, list[Piece]]]:
    return [(wanted, [(0, wanted.size)])]


def test_an_object_comes_by_its_ranges_in_order(tmp_path: Path) -> None:
    store, (one,) = objects(3 * KIB + 5)
    with downloads(store, tmp_path, at_once=1) as made:
        assert made.fill(whole(one)).presence == [Presence.WHOLE]
        assert in_cache(made, store, one)
        assert made.fetched == (1, one.size)
        assert made.fill(whole(one)).presence == [Presence.WHOLE]
    ends = [0, KIB, 2 * KIB, 3 * KIB, one.size]
    assert store.asked == [(one.key, piece) for piece in pairwise(ends)]


def test_each_object_is_fetched_once_whoever_asks_for_it(tmp_path: Path) -> None:
    store, many = objects(*[2 * KIB] * 5)
    store.open = False
    with downloads(store, tmp_path) as made, ThreadPoolExecutor(12) as pool:
        asked = [pool.submit(made.fill, whole(one)) for one in many for _ in range(2)]
        asked += [pool.submit(made.begin, one, (0, 1), wait=False) for one in many]  # type: ignore[arg-type]
        store.await_requests(4)
        store.answer_all()
        assert all(future.result(PATIENCE) for future in asked)
        assert all(in_cache(made, store, one) for one in many)
        assert made.fetched == (5, 10 * KIB)
    assert len(store.asked) == 10
    assert len(set(store.asked)) == 10


def test_what_has_come_can_be_read_before_the_rest_has(tmp_path: Path) -> None:
    store, (one,) = objects(4 * KIB)
    store.open = False
    with downloads(store, tmp_path) as made, ThreadPoolExecutor(1) as pool:
        filled = pool.submit(made.fill, [(one, [(KIB + 5, 2 * KIB - 5)])])
        store.await_requests(4)
        store.answer(one.key, (KIB, 2 * KIB))
        assert filled.result(PATIENCE) == Filled(presence=[Presence.PART])
        lease = made.cache.arriving(one.name, one.size)
        assert lease is not None
        assert made.cache.is_current(lease)
        assert lease.content[KIB : 2 * KIB] == store.objects[one.key][KIB : 2 * KIB]
        assert not in_cache(made, store, one)
        store.answer_all()
        assert made.fill(whole(one)).presence == [Presence.WHOLE]
        assert made.cache.is_current(lease)
        assert lease.content == store.objects[one.key]
        lease.close()


def test_early_pieces_go_past_the_gate_as_long_as_that_is_allowed(tmp_path: Path) -> None:
    store, (one, other) = objects(8 * KIB, 8 * KIB)
    store.open = False
    piece = (5 * KIB + 3, 6 * KIB + 10)
    with downloads(store, tmp_path, at_once=1) as made, ThreadPoolExecutor(2) as pool:
        made.allow_early(1)
        filled = pool.submit(made.fill, [(one, [piece])])
        store.await_requests(2)  # its first range, and the piece beside it
        assert set(store.asked) == {(one.key, (0, KIB)), (one.key, piece)}
        store.answer(one.key, piece)
        assert filled.result(PATIENCE) == Filled(
            presence=[Presence.PART], requests=1, nbytes=KIB + 7
        )
        # It is used up: from now on what somebody waits for comes next, but once.
        later = pool.submit(made.fill, [(other, [piece])])
        store.answer_all()
        assert later.result(PATIENCE).requests == 0
        made.fill(whole(one))
        made.fill(whole(other))
        assert in_cache(made, store, one)
    asked = [p for key, p in store.asked if key == other.key]
    assert len(asked) == len(set(asked)) == 8


def test_an_error_reaches_all_who_wait_and_leaves_nothing(tmp_path: Path) -> None:
    store, (one, other) = objects(6 * KIB, KIB)
    store.open, store.errors[one.key] = False, StorageError("it is away")
    with downloads(store, tmp_path) as made, ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(made.fill, whole(one)) for _ in range(3)]
        waiting.append(pool.submit(made.fill, [(other, [(0, 5)]), (one, [(0, 5)])]))
        store.await_requests(4)
        store.answer_all()
        for future in waiting:
            with pytest.raises(StorageError, match="it is away"):
                future.result(PATIENCE)
        assert not list((made.cache.path / "partial").iterdir())
        assert not list((made.cache.path / "fetching").iterdir())
        assert not in_cache(made, store, one)
        # What was not begun when it failed is not asked for; and later it may go well.
        assert len([key for key, _ in store.asked if key == one.key]) <= 5
        store.errors.clear()
        assert made.fill(whole(one)).presence == [Presence.WHOLE]
        assert in_cache(made, store, one)


def test_a_short_answer_is_an_error(tmp_path: Path) -> None:
    store, (one,) = objects(3 * KIB)
    store.objects[one.key] = store.objects[one.key][:-1]
    with downloads(store, tmp_path) as made:
        with pytest.raises(CorruptData, match="1023 arrived"):
            made.fill(whole(one))
        with pytest.raises(CorruptData, match="1 arrived"):
            made.ranges([(one, [(0, 2)]), (one, [(3 * KIB - 2, 3 * KIB)])])


def test_ranges_come_in_the_order_in_which_they_were_asked_for(tmp_path: Path) -> None:
    store, (one, other) = objects(2_000, 500)
    asks: Sequence[tuple[Wanted, list[Piece]]] = [
        (one, [(1_000, 2_000), (0, 10), (5, 5 + KIB)]),
        (other, []),
        (other, [(499, 500)]),
    ]
    with downloads(store, tmp_path) as made:
        found = made.ranges(asks)
    assert found == [[store.objects[w.key][slice(*p)] for p in pieces] for w, pieces in asks]
    assert len(store.asked) == 4


def test_what_does_not_fit_is_not_fetched(tmp_path: Path) -> None:
    store, (large, small) = objects(4 * KIB, KIB)
    with downloads(store, tmp_path, limit=2 * KIB) as made:
        filled = made.fill([*whole(large), *whole(small)])
        assert filled.presence == [Presence.NONE, Presence.WHOLE]
    assert store.asked == [(small.key, (0, KIB))]


def test_the_end_frees_those_who_wait_and_what_was_begun(tmp_path: Path) -> None:
    store, (one, other) = objects(9 * KIB, 9 * KIB)
    store.open = False
    with downloads(store, tmp_path, at_once=1) as made, ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(made.fill, whole(w)) for w in (one, other)]
        store.await_requests(1)
        made.close()
        store.answer_all()
        for future in waiting:
            with pytest.raises(StorageError, match="nobody reads"):
                future.result(PATIENCE)
    assert not list((tmp_path / "millstream-cache" / "partial").iterdir())
    with downloads(store, tmp_path) as again:
        assert again.fill(whole(one)).presence == [Presence.WHOLE]


def test_one_that_another_process_fetches_is_waited_for(tmp_path: Path) -> None:
    store, (one,) = objects(KIB)
    cache = Cache(tmp_path, 1 << 20)
    theirs = cache.begin(one.name, one.size)
    assert theirs is not None and not isinstance(theirs, Arriving)
    with downloads(store, tmp_path) as made, ThreadPoolExecutor(1) as pool:
        filled = pool.submit(made.fill, whole(one))
        theirs.write(0, store.objects[one.key])  # type: ignore[union-attr]
        theirs.finish(one.size, verify=True).close()  # type: ignore[union-attr]
        assert filled.result(PATIENCE).presence == [Presence.WHOLE]
    assert store.asked == []
