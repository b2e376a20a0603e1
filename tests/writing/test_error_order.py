"""Whoever is quick: a job's bytes are the same, and its error is that of the first bad input."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kills import tree

import millstream as ms
from millstream import errors
from millstream.execution.inline import Inline
from millstream.execution.protocol import Outcome

INPUTS = 12


class OutOfOrder:
    """An executor with so many tasks under way, which end in a random order."""

    workers, apart = 1, False

    def __init__(self, width: int, seed: int) -> None:
        self._width, self._chance = width, random.Random(seed)
        self._tasks: list[tuple[int, Any]] = []

    @contextmanager
    def open(self, work: Callable[[Any], Any]) -> Iterator[OutOfOrder]:
        self._work = work
        yield self

    @property
    def free(self) -> int:
        return self._width - len(self._tasks)

    def submit(self, tag: int, task: Any) -> None:
        self._tasks.append((tag, task))

    def wait(self) -> Outcome[Any]:
        tag, task = self._tasks.pop(self._chance.randrange(len(self._tasks)))
        with Inline().open(self._work) as session:
            session.submit(tag, task)
            return session.wait()


def write(folder: Path, executor: Any, bad: dict[int, str]) -> Any:
    def fn(i: int) -> Any:
        match bad.get(i):
            case "raises":
                raise ValueError("bad")
            case "differs":
                return {"text": i}
        return {"text": str(i) * 200}

    return ms.optimize(
        fn, range(INPUTS), folder, executor=executor, chunk_bytes="1500B", verbose=False
    )


orders = st.builds(OutOfOrder, st.integers(1, 8), st.integers(0, 1 << 30))
kinds = st.sampled_from(["raises", "differs"])


@given(executor=orders, bad=st.dictionaries(st.integers(1, INPUTS - 1), kinds, min_size=1))
def test_the_error_is_that_of_the_first_bad_input(
    tmp_path_factory: pytest.TempPathFactory, executor: OutOfOrder, bad: dict[int, str]
) -> None:
    folder = tmp_path_factory.mktemp("bad")
    first = min(bad)
    kind = errors.FunctionError if bad[first] == "raises" else errors.SampleError
    with pytest.raises(kind, match=rf"input {first} \({first}\)"):
        write(folder / "d", executor, bad)


@given(executor=orders)
def test_the_bytes_do_not_depend_on_who_is_quick(
    tmp_path_factory: pytest.TempPathFactory, executor: OutOfOrder
) -> None:
    folder = tmp_path_factory.mktemp("good")
    for name, some in {"one": Inline(), "other": executor}.items():
        write(folder / name, some, {})
    assert tree(folder / "one") == tree(folder / "other")
