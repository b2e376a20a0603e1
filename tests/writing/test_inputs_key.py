"""Inputs are the same in every process, and a refusal names those that changed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.errors import NotPicklable
from millstream.writing import inputs as module
from millstream.writing.inputs import InputsKey, inputs_key


def differences(now: Any, then: Any) -> list[str]:
    recorded: InputsKey = inputs_key(then)
    return inputs_key(now).differences(recorded.summary(), recorded.to_bytes())


@dataclass
class Row:
    name: str
    tags: frozenset[str]


class Plain:
    def __init__(self, value: object) -> None:
        self.value = value


shared = [1, 2]
SAME = [
    ([Row("a", frozenset("xyz"))], [Row("a", frozenset("zyx"))]),
    ([{"a": 1, "b": {3, 2}}], [{"b": {2, 3}, "a": 1}]),
    ([(shared, shared)], [([1, 2], [1, 2])]),
    ([Plain({"x", "y"})], [Plain({"y", "x"})]),
    (np.arange(3), np.arange(3)),
    ([np.zeros((2, 0))], [np.zeros((2, 0))]),
    ((1, 2), [1, 2]),
    ([10**5000], [10**5000]),
]
OTHER = [
    ([Row("a", frozenset("xyz"))], [Row("a", frozenset("xy"))]),
    ([Plain(1)], [Plain(2)]),
    ([1], [1.0]),
    ([1], [True]),
    (["a/b"], [Path("a/b")]),
    ([["a"]], [("a",)]),
    ([["ab"], ["c"]], [["a"], ["bc"]]),
    ([np.zeros(2, "f4")], [np.zeros(2, "f8")]),
    ([np.zeros((2, 3))], [np.zeros((3, 2))]),
    ([0.0], [-0.0]),
    ([b"a"], ["a"]),
    ([str], [bytes]),
    ([lambda: 1], [lambda: 2]),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_equal_inputs_are_the_same(one: Any, other: Any) -> None:
    assert inputs_key(one).summary() == inputs_key(other).summary()


@pytest.mark.parametrize(("one", "other"), OTHER)
def test_unequal_inputs_are_not(one: Any, other: Any) -> None:
    (text,) = differences(one, other)
    assert text.startswith("input 0 ")
    assert "another value" in text


def test_an_input_that_holds_itself_has_an_end() -> None:
    loop: list[Any] = [1]
    loop.append(loop)
    assert inputs_key([loop]).digest == inputs_key([loop]).digest


def test_what_cannot_be_taken_apart_is_said() -> None:
    with pytest.raises(NotPicklable, match=r"generator among the inputs .* inside fn"):
        inputs_key([(i for i in range(3))])


def test_a_file_counts_by_its_size_and_its_modification_time(tmp_path: Path) -> None:
    names = [tmp_path / "a.jpg", str(tmp_path / "b.jpg"), (1, str(tmp_path / "c.jpg")), "d.jpg"]
    for name in "abc":
        (tmp_path / f"{name}.jpg").write_text("some")
    then = inputs_key(names)

    def changed() -> list[str]:
        return inputs_key(names).differences(then.summary(), then.to_bytes())

    assert changed() == []
    os.utime(tmp_path / "b.jpg", ns=(0, 0))
    assert changed() == [
        f"input 1 ({names[1]!r}) changed: the size or the modification time of its file"
    ]
    (tmp_path / "a.jpg").write_text("more than some")
    (tmp_path / "c.jpg").unlink()
    assert changed()[0].startswith("input 0 (PosixPath(")
    assert changed()[0].endswith("its file (and 2 others)")


values = st.lists(st.integers(), min_size=1, max_size=30)


@given(then=values, data=st.data())
def test_a_changed_input_is_named(then: list[int], data: st.DataObject) -> None:
    places = data.draw(st.sets(st.integers(0, len(then) - 1), min_size=1))
    now = [str(value) if i in places else value for i, value in enumerate(then)]
    first, more = min(places), len(places) - 1
    others = f" (and {more} others)" if more else ""
    assert differences(now, then) == [
        f"input {first} is now {now[first]!r}, was another value{others}"
    ]


@given(base=st.lists(st.integers(), min_size=1, max_size=20, unique=True), data=st.data())
def test_inputs_that_came_or_went_are_named(base: list[int], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(base)))
    new = data.draw(st.lists(st.text(), min_size=1, max_size=5))
    more = [*base[:at], *new, *base[at:]]
    run = f"input {at} was" if len(new) == 1 else f"inputs {at} to {at + len(new) - 1} were"
    assert differences(more, base) == [f"{run} added"]
    assert differences(base, more) == [f"{run} removed, counted as then"]


def test_when_inputs_came_and_changed_it_says_where_they_differ() -> None:
    assert differences([1, 2, 3, 4], [1, 9, 3]) == [
        "there are 4 inputs, there were 3; they differ from input 1 on"
    ]


def test_of_a_range_its_ends_are_said() -> None:
    assert differences(range(9), range(9)) == []
    assert differences(range(10), range(9)) == ["the inputs (now range(0, 10), then range(0, 9))"]
    assert differences([1], range(9)) == ["the inputs (now a sequence of 1, then range(0, 9))"]


@given(count=st.integers(9, 100), data=st.data())
def test_many_inputs_share_digests(count: int, data: st.DataObject) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MAX_BLOCKS", 8)
        then = list(range(count))
        key = inputs_key(then)
        assert key.block & (key.block - 1) == 0
        assert 4 < len(key.values) <= 8
        place = data.draw(st.integers(0, count - 1))
        (text,) = differences([*then[:place], "x", *then[place + 1 :]], then)
        first = place // key.block * key.block
        last = min(first + key.block, count) - 1
        assert text == f"one of inputs {first} to {last}, or more, has another value"
        # More inputs than then, so many that blocks are larger now: compared by those of then.
        (text,) = differences([*then, *range(200)], then)
        assert text.startswith(f"there are {count + 200} inputs, there were {count}")
