"""What workers promise, whether they are processes or threads."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from millstream.execution.crew import Crew
from millstream.execution.ordered import Ordered
from millstream.execution.threads import Threads

pytestmark = pytest.mark.timeout(60)

Make = Callable[[Any], Ordered[Any]]


def one_process(work: Any) -> Ordered[Any]:
    return Crew(lambda number: lambda task, empty: work(task), workers=1, ahead=2)


def one_thread(work: Any) -> Ordered[Any]:
    return Threads(lambda number: work, workers=1, ahead=2)


@pytest.mark.parametrize("make", [one_process, one_thread])
def test_a_fork_of_the_owner_ends_nothing(make: Make) -> None:
    hands = make(lambda x: x)
    assert list(hands.results([1])) == [1]
    child = os.fork()
    if child == 0:
        ok = not hands.usable
        hands.close()
        os._exit(0 if ok else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert list(hands.results([2])) == [2]
    hands.close()
