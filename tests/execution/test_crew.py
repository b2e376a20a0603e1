"""Crews: results in the order of the tasks; a death, a delay, a stream left early."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from millstream.errors import FunctionError, NotPicklable, UsageError, WorkerDied, WorkerTimeout
from millstream.execution.crew import Crew

pytestmark = pytest.mark.timeout(120)


def crew(work: Any, workers: int = 2, ahead: int = 2) -> Crew[Any]:
    return Crew(lambda number: lambda task, empty: work(task), workers=workers, ahead=ahead)


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("ahead", [1, 4])
def test_results_come_in_the_order_of_the_tasks(workers: int, ahead: int) -> None:
    hands = crew(lambda x: (x, os.getpid()), workers, ahead)
    results = list(hands.results(range(20)))
    hands.close()
    assert [x for x, _ in results] == list(range(20))
    by = [pid for _, pid in results]
    assert all(by[n] == by[n % workers] for n in range(20))
    assert len(set(by)) == workers


def test_a_crew_does_one_stream_after_another() -> None:
    hands = crew(lambda x: x * 2)
    assert list(hands.results(range(5))) == [0, 2, 4, 6, 8]
    early = hands.results(range(100, 200))
    assert next(early) == 200
    early.close()  # what is under way must not come out of the next stream
    assert list(hands.results(range(7))) == [2 * x for x in range(7)]
    assert hands.usable
    hands.close()
    assert not hands.usable


def test_no_more_tasks_are_taken_than_ahead() -> None:
    taken = []

    def tasks() -> Iterator[int]:
        for n in range(50):
            taken.append(n)
            yield n

    hands = crew(lambda x: x, workers=2, ahead=3)
    results = hands.results(tasks())
    for n in range(10):
        assert next(results) == n
        assert len(taken) == 6 + n + 1
    results.close()
    hands.close()


def test_begin_is_called_once_in_each_worker_with_its_number(tmp_path: Path) -> None:
    def begin(number: int) -> Any:
        with (tmp_path / str(number)).open("a") as file:
            file.write("x")
        return lambda task, empty: (number, task)

    hands: Crew[Any] = Crew(begin, workers=3, ahead=1)
    for _ in range(2):
        assert list(hands.results(range(6))) == [(n % 3, n) for n in range(6)]
    hands.close()
    assert [(tmp_path / str(n)).read_text() for n in range(3)] == ["x"] * 3


def test_what_a_task_or_begin_raises_comes_in_its_turn() -> None:
    def work(x: int) -> int:
        if x == 3:
            raise ValueError("three")
        return x

    hands = crew(work)
    results = hands.results(range(10))
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(FunctionError, match="ValueError: three"):
        next(results)
    assert not hands.usable

    def begin(number: int) -> Any:
        raise KeyError("no model file")

    hands = Crew(begin, workers=1, ahead=1)
    with pytest.raises(FunctionError, match="worker 0 cannot begin: KeyError"):
        next(hands.results([1]))


@pytest.mark.parametrize("workers", [1, 3])
def test_a_dead_worker_is_named_with_its_task(workers: int) -> None:
    def work(x: int) -> int:
        if x == 4:
            os.kill(os.getpid(), signal.SIGKILL)
        return x

    hands = crew(work, workers)
    results = hands.results(range(100))
    number = 4 % workers
    with pytest.raises(
        WorkerDied, match=rf"worker {number} of {workers} .*SIGKILL.*, at 4"
    ) as told:
        for n, result in enumerate(results):
            assert result == n < 4
    assert "process" in str(told.value)
    assert not hands.usable


def test_a_death_is_seen_even_if_the_worker_left_a_child(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)

    def work(x: int) -> int:
        if os.fork() == 0:
            gate.read_text()  # holds on to whatever it inherited
            os._exit(0)
        os.kill(os.getpid(), signal.SIGKILL)
        return x

    with pytest.raises(WorkerDied):
        next(crew(work, 1).results([1]))
    gate.write_text("end")


def test_a_result_that_takes_too_long_is_an_error_that_names_the_task(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)

    def work(x: int) -> int:
        if x == 1:
            gate.read_text()
        return x

    hands = crew(work)
    results = hands.results(range(9), timeout=5)
    assert next(results) == 0
    with pytest.raises(WorkerTimeout, match=r"1 was not there after 5 seconds; .*SIGUSR1"):
        next(results)
    assert not hands.usable


def test_arrays_travel_beside_the_pickle_and_may_be_written_to() -> None:
    sent = np.arange(1_000_000)
    hands = crew(lambda n: {"x": sent + n, "text": "a"}, workers=1)
    first, second = hands.results([0, 1])
    hands.close()
    assert np.array_equal(first["x"] + 1, second["x"])
    first["x"][:] = 0
    assert second["x"][0] == 1


def test_what_makes_no_sense_is_said() -> None:
    for workers, ahead in ((0, 1), (1, 0)):
        with pytest.raises(UsageError):
            Crew(lambda number: str, workers=workers, ahead=ahead)
    with pytest.raises(NotPicklable, match="dataset or a function"):
        lock = __import__("threading").Lock()
        Crew(lambda number: lock, workers=1, ahead=1)
