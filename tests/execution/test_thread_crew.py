"""Threads: what a crew of processes promises, kept by threads of this process."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from millstream.errors import FunctionError, UsageError, WorkerTimeout
from millstream.execution.threads import Threads

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    gc.collect()
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
        assert not thread.is_alive()


def threads(work: Any, workers: int = 2, ahead: int = 2) -> Threads[Any]:
    return Threads(lambda number: work, workers=workers, ahead=ahead)


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("ahead", [1, 4])
def test_results_come_in_the_order_of_the_tasks(workers: int, ahead: int) -> None:
    hands = threads(lambda x: (x, threading.get_ident()), workers, ahead)
    for _ in range(2):
        results = list(hands.results(range(20)))
        assert [x for x, _ in results] == list(range(20))
        by = [thread for _, thread in results]
        assert all(by[n] == by[n % workers] for n in range(20))
        assert len(set(by)) == workers
    hands.close()
    assert not hands.usable


def test_what_is_left_of_an_earlier_stream_is_not_even_done() -> None:
    gate, done = threading.Event(), []

    def work(x: int) -> int:
        if x == 0:
            gate.wait()
        done.append(x)
        return x

    hands = threads(work, workers=1, ahead=5)
    early = hands.results(range(100))
    iterator = threading.Thread(target=lambda: next(early, None))
    iterator.start()
    gate.set()
    iterator.join()
    early.close()
    assert list(hands.results(range(200, 204))) == [200, 201, 202, 203]
    assert len([x for x in done if x < 100]) <= 6
    hands.close()


def test_what_a_task_or_begin_raises_comes_in_its_turn() -> None:
    def work(x: int) -> int:
        if x == 3:
            raise ValueError("three")
        return x

    hands = threads(work)
    results = hands.results(range(10))
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(FunctionError, match="ValueError: three") as told:
        next(results)
    assert isinstance(told.value.__cause__, ValueError)
    assert not hands.usable

    def begin(number: int) -> Any:
        raise KeyError("no model file")

    with pytest.raises(FunctionError, match="worker 0 cannot begin: KeyError"):
        next(Threads(begin, workers=1, ahead=1).results([1]))
    with pytest.raises(FunctionError, match="SystemExit"):
        next(threads(lambda x: exit(x)).results([1]))


def test_a_task_that_is_stuck_is_an_error_and_its_thread_ends_after_it() -> None:
    gate = threading.Event()
    hands = threads(lambda x: gate.wait() if x == 1 else x)
    results = hands.results(range(9), timeout=0.3)
    assert next(results) == 0
    with pytest.raises(WorkerTimeout, match=r"1 was not there after 0\.3 seconds"):
        next(results)
    assert not hands.usable
    gate.set()


def test_what_makes_no_sense_is_said() -> None:
    with pytest.raises(UsageError):
        threads(str, workers=0)
