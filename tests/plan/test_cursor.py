"""States come back exactly, say what does not fit, and never break the reader."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapes import orders, whole_order

from millstream.errors import StateMismatch, UsageError
from millstream.plan import Cursor, Order, restore, state

VERSION = "v" * 64
SETTINGS = whole_order(np.array([5, 6])).settings()
SAVED = state(Cursor(epoch=3, position=9), SETTINGS, VERSION)

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=4,
)


@given(orders(), st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1))
def test_a_state_comes_back_through_json(order: Order, epoch: int, position: int) -> None:
    cursor = Cursor(epoch=epoch, position=position)
    saved = json.dumps(state(cursor, order.settings(), VERSION))
    assert len(saved) < 1_000
    assert restore(json.loads(saved), order.settings(), VERSION) == cursor


@pytest.mark.parametrize(
    ("name", "value", "word"),
    [
        ("seed", 77, "seed was 1, is 77"),
        ("shuffle", False, "shuffle was True, is False"),
        ("window", 9, "shuffle_window was 100, is 9"),
        ("lanes", 4, "lanes was 1, is 4"),
        ("selection", "a" * 32, "the selected rows"),
        ("chunks", "a" * 32, "the rows of the dataset's chunks"),
    ],
)
def test_a_mismatch_names_the_setting_and_both_values(name: str, value: Any, word: str) -> None:
    assert name in SETTINGS
    with pytest.raises(StateMismatch, match=word):
        restore(SAVED, {**SETTINGS, name: value}, VERSION)


def test_every_setting_is_compared() -> None:
    for name in SETTINGS:
        rest = {key: value for key, value in SETTINGS.items() if key != name}
        with pytest.raises(StateMismatch, match="not set"):
            restore({**SAVED, "order": rest}, SETTINGS, VERSION)
        with pytest.raises(StateMismatch, match="not set"):
            restore(SAVED, rest, VERSION)


def test_the_first_that_differs_is_named() -> None:
    with pytest.raises(StateMismatch, match="seed"):
        restore(SAVED, {**SETTINGS, "lanes": 9, "window": 9, "seed": 9}, VERSION)


def test_another_version_is_named() -> None:
    with pytest.raises(StateMismatch, match=r"version vvvv.* version wwww.*version="):
        restore(SAVED, SETTINGS, "w" * 64)


def test_a_later_format_is_named() -> None:
    with pytest.raises(UsageError, match="format 2"):
        restore({**SAVED, "format": 2}, SETTINGS, VERSION)


@given(st.sampled_from([*SAVED]), anything)
def test_a_state_with_anything_in_it_is_refused_or_right(name: str, value: Any) -> None:
    try:
        cursor = restore({**SAVED, name: value}, SETTINGS, VERSION)
    except (UsageError, StateMismatch):
        return
    if name in ("epoch", "position"):
        assert getattr(cursor, name) == value
        assert type(getattr(cursor, name)) is int
    else:
        assert cursor == Cursor(epoch=3, position=9)


@given(st.sampled_from([*SETTINGS]) | st.text(max_size=3) | st.integers(), anything)
def test_settings_with_anything_in_them_are_refused_or_right(name: Any, value: Any) -> None:
    order = {**SETTINGS, name: value}
    try:
        restore({**SAVED, "order": order}, SETTINGS, VERSION)
    except StateMismatch:
        assert repr(order) != repr(SETTINGS)
    else:
        assert repr(order) == repr(SETTINGS)


@given(anything)
def test_what_is_no_state_is_refused(value: Any) -> None:
    with pytest.raises(UsageError):
        restore(value, SETTINGS, VERSION)


@pytest.mark.parametrize("value", [np.arange(3), {1: 2}, b"1", [0] * 1_000])
def test_settings_of_foreign_types_are_refused(value: Any) -> None:
    with pytest.raises(StateMismatch) as raised:
        restore({**SAVED, "order": {**SETTINGS, "seed": value, 5: 6}}, SETTINGS, VERSION)
    assert len(str(raised.value)) < 400


@pytest.mark.parametrize("bad", [-1, 1 << 63, 1.0, True, None])
def test_a_cursor_is_valid_from_birth(bad: Any) -> None:
    with pytest.raises(UsageError):
        Cursor(epoch=bad, position=0)
    with pytest.raises(UsageError):
        Cursor(epoch=0, position=bad)
