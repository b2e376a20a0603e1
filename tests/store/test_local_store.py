"""Ranges of a local object: what slicing gives."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.store import LocalStore

CONTENT = bytes(range(200))
ends = st.integers(0, 250)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> LocalStore:
    store = LocalStore(tmp_path_factory.mktemp("store"))
    store.put("a/b", CONTENT)
    return store


@given(ends, ends)
def test_a_span_is_a_slice(store: LocalStore, start: int, stop: int) -> None:
    assert store.get("a/b", (start, stop)) == CONTENT[start:stop]


def test_what_is_not_there_is_not_found(store: LocalStore) -> None:
    for span in (None, (0, 10)):
        with pytest.raises(FileNotFoundError):
            store.get("a/c", span)
