"""Slots: what a worker puts in comes out as it was; what is held stays; how many there are."""

from __future__ import annotations

import gc
import os
import pickle
import signal
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from objects import local_descriptors

from millstream.errors import StorageError
from millstream.execution import slots
from millstream.execution.crew import Crew
from millstream.execution.ring import MOST_HELD, Budget, Ring
from millstream.execution.slots import ALIGN, Arena, make_segment, map_segment

pytestmark = pytest.mark.timeout(120)
BYTE = np.dtype(np.uint8)


class Pair:
    """A worker's slots and its parent's, in one process."""

    def __init__(self, limit: int = 1 << 40) -> None:
        self.arena, self.budget = Arena(), Budget(limit)
        self.ring = Ring(self.budget)
        self.numbers: set[int] = set()
        self.segments = 0

    def send(self, make: Callable[[Any], Any]) -> Any:
        """What arrives of a value that a function makes with the slot's `empty`."""
        number = self.ring.take()
        self.numbers.add(number)
        self.arena.begin(number)
        filled = self.arena.dump(make(self.arena.empty))
        assert all(at % ALIGN == 0 for at, _ in filled.spans)
        descriptors = [] if filled.descriptor is None else [filled.descriptor]
        self.segments += len(descriptors)
        return self.ring.load(number, filled.stream, filled.spans, descriptors)


def filled(size: int, value: int) -> Callable[[Any], Any]:
    def make(empty: Any) -> Any:
        array = empty((size,), BYTE)
        array[:] = value % 251
        return {"there": array, "elsewhere": np.full(size // 2, value % 251, np.int16)}

    return make


def is_filled(batch: Any, size: int, value: int) -> bool:
    there, elsewhere = batch["there"], batch["elsewhere"]
    right = (there == value % 251).all() and (elsewhere == value % 251).all()
    return bool(right) and (len(there), len(elsewhere)) == (size, size // 2)


# For each batch its size, and for how many further batches it is held.
@given(st.lists(st.tuples(st.integers(0, 70_000), st.integers(0, 6)), max_size=30), st.booleans())
def test_a_batch_that_is_held_never_changes(batches: list[tuple[int, int]], tight: bool) -> None:
    pair = Pair(limit=300_000 if tight else 1 << 40)
    held: dict[int, tuple[Any, int, int]] = {}
    most = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for n, (size, keep) in enumerate(batches):
            held[n] = pair.send(filled(size, n)), size, n + keep
            assert all(is_filled(batch, size, m) for m, (batch, size, _) in held.items())
            most = max(most, len(held))
            for m in [m for m, (_, _, until) in held.items() if until <= n]:
                del held[m]
    assert len(pair.numbers) <= most + 1
    assert pair.budget.held <= pair.budget.limit


@pytest.mark.parametrize("keep", [lambda b: b["there"], lambda b: b["elsewhere"][3:4].T])
def test_one_view_keeps_the_whole_slot(keep: Callable[[Any], Any]) -> None:
    pair = Pair()
    kept = keep(pair.send(filled(5_000, 7)))
    for n in range(5):
        pair.send(filled(5_000, n))
    assert (kept == 7).all()
    assert pair.numbers == {0, 1}
    del kept
    pair.send(filled(10, 1))
    pair.send(filled(10, 1))
    assert pair.budget.slots <= 2


def test_the_size_of_slots_is_learned_from_the_batches() -> None:
    pair = Pair()
    sizes = [100_000, 90_000, 110_000, 120_000, 95_000]
    held = [pair.send(filled(size, 1)) for size in sizes]
    assert pair.segments == 5  # one each, the first time right
    del held
    for _ in range(10):
        for size in sizes:
            pair.send(filled(size, 1))
    assert pair.segments == 5
    pair.send(filled(1_000_000, 1))
    assert pair.segments == 6


def test_nothing_is_copied_that_was_made_in_the_slot() -> None:
    pair = Pair()
    pair.send(filled(50_000, 1))
    made: list[Any] = []
    pair.arena.begin(0)
    made.append(pair.arena.empty((100, 10), np.dtype(np.float32)))
    made[0][:] = 3
    before = made[0].ctypes.data
    spans = pair.arena.dump(made).spans
    assert before == slots._address(pair.arena._slot) + spans[0][0]
    assert spans == [(0, 4_000)]


def test_a_large_pickle_lies_in_the_slot_and_a_small_value_needs_none() -> None:
    pair = Pair()
    text = ["word"] * 3 + ["x" * 5_000]
    assert pair.send(lambda empty: text) == text
    assert pair.segments == 1
    assert pair.send(lambda empty: 5) == 5
    assert pair.budget.slots == 0


def test_beyond_the_limit_batches_are_copied_with_one_warning() -> None:
    pair = Pair(limit=200_000)
    with pytest.warns(UserWarning, match="quarter of the free memory") as told:
        held = [pair.send(filled(60_000, n)) for n in range(20)]
    assert len(told) == 1
    assert all(is_filled(batch, 60_000, n) for n, batch in enumerate(held))
    assert pair.budget.copied >= 17
    assert len(pair.numbers) <= 4
    del held
    copied = pair.budget.copied
    pair.send(filled(60_000, 1))
    assert pair.budget.copied == copied


def test_so_many_are_held_at_most_and_that_is_no_reason_to_warn() -> None:
    pair = Pair()
    held = [pair.send(filled(64, n)) for n in range(MOST_HELD + 40)]
    assert all(is_filled(batch, 64, n) for n, batch in enumerate(held))
    assert pair.budget.slots == MOST_HELD
    assert len(pair.numbers) == MOST_HELD + 1


def test_no_memory_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    before = len(os.listdir("/dev/fd"))  # noqa: PTH208
    with pytest.raises(StorageError, match=r"batch of 196,608 bytes \(No space.*batch_size"):
        Pair().send(filled(70_000, 1))
    assert len(os.listdir("/dev/fd")) == before  # noqa: PTH208


def test_segments_have_no_name_where_the_system_must_give_them_one_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(slots, "_memory", slots.unlinked_segment)
    descriptor = make_segment(70_000)
    one, other = map_segment(descriptor, 70_000), map_segment(descriptor, 70_000)
    os.close(descriptor)
    one[69_999] = 5
    assert other[69_999] == 5
    shared = Path("/dev/shm")
    if shared.is_dir():
        assert not list(shared.glob("millstream*"))


def descriptors() -> int:
    gc.collect()
    return local_descriptors()


@pytest.mark.parametrize("end", ["close", "kill"])
def test_results_outlive_their_crew_and_leave_nothing(end: str) -> None:
    def begin(number: int) -> Any:
        return lambda task, empty: filled(20_000, task)(empty)

    before = descriptors()
    crew: Crew[Any] = Crew(begin, workers=2, ahead=2)
    results = crew.results(range(100))
    held = [next(results) for _ in range(7)]
    if end == "kill":
        for pid in [worker.process.pid for worker in crew._workers]:
            os.kill(pid, signal.SIGKILL)
    results.close()
    crew.close()
    assert all(is_filled(batch, 20_000, n) for n, batch in enumerate(held))
    assert descriptors() > before
    del held, results, crew
    assert descriptors() == before


def test_slots_of_a_run_are_bounded_by_what_is_ahead_and_held() -> None:
    crew: Crew[Any] = Crew(
        lambda number: lambda task, empty: filled(3_000, task)(empty), workers=2, ahead=3
    )
    held: list[Any] = []
    for n, batch in enumerate(crew.results(range(300))):
        assert is_filled(batch, 3_000, n)
        held = [*held[-4:], batch]  # five, and the next one while this list is made
    made = sum(worker._ring._made for worker in crew._workers if worker._ring)
    assert made <= 2 * (3 + 1) + 6
    crew.close()


def test_what_cannot_be_pickled_is_said_and_what_pickles_itself_travels() -> None:
    assert Pair().send(lambda empty: pickle.PickleBuffer(b"abc")) == b"abc"
    crew: Crew[Any] = Crew(lambda number: lambda task, empty: (x for x in "ab"), workers=1, ahead=1)
    with pytest.raises(Exception, match="a result cannot be pickled"):
        next(crew.results([1]))
