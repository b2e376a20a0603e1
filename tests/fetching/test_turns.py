"""Who goes when, and by how many threads."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.reading.fetching.gate import Gate
from millstream.reading.fetching.turns import Turns

PATIENCE = 30


class Held:
    """Work that says when it has begun, and ends when it is let."""

    def __init__(self) -> None:
        self.begun, self.may_end = threading.Event(), threading.Event()

    def __call__(self) -> int:
        self.begun.set()
        assert self.may_end.wait(PATIENCE)
        return 1


@pytest.fixture
def turns() -> Iterator[Turns]:
    made = Turns(Gate(lambda: 0.0, first=2, most=2), 5)
    yield made
    made.close()
    for thread in made._threads:
        thread.join(PATIENCE)


def test_the_gate_bounds_what_is_due_and_not_what_is_urgent(turns: Turns) -> None:
    due, urgent = [Held() for _ in range(4)], [Held() for _ in range(3)]
    for work in due:
        turns.due(0, work)
    assert all(work.begun.wait(PATIENCE) for work in due[:2])
    for work in urgent:
        turns.urgent(work)
    assert all(work.begun.wait(PATIENCE) for work in urgent)
    assert not any(work.begun.is_set() for work in due[2:])
    due[1].may_end.set()
    assert due[2].begun.wait(PATIENCE)
    assert not due[3].begun.is_set()
    for work in [*due, *urgent]:
        work.may_end.set()
    assert due[3].begun.wait(PATIENCE)
    assert turns.threads == 5


def test_threads_are_started_as_they_are_needed_and_end(turns: Turns) -> None:
    assert turns.threads == 0
    for _ in range(20):
        assert turns.urgent(lambda: 7).result(PATIENCE) == 7
    assert turns.threads <= 2
    turns.close()
    for thread in turns._threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_an_error_is_given_to_who_asked(turns: Turns) -> None:
    def fail() -> int:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        turns.urgent(fail).result(PATIENCE)
    assert turns.urgent(lambda: 1).result(PATIENCE) == 1


@given(st.lists(st.integers(0, 20), max_size=40))
def test_what_is_due_first_goes_first(due: list[int]) -> None:
    turns = Turns(Gate(lambda: 0.0, first=1, most=1), 1)
    gate, done, order = Held(), threading.Event(), []
    turns.due(-1, gate)
    assert gate.begun.wait(PATIENCE)

    def work(when: int) -> int:
        order.append(when)
        if len(order) == len(due):
            done.set()
        return 1

    for when in due:
        turns.due(when, lambda when=when: work(when))
    gate.may_end.set()
    assert not due or done.wait(PATIENCE)
    turns.close()
    assert order == sorted(due)
