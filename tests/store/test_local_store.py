"""What a folder does beyond the conformance suite."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.errors import CorruptData, UsageError
from millstream.store import LocalStore

CONTENT = bytes(range(200))
ends = st.integers(0, 250)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> LocalStore:
    store = LocalStore(tmp_path_factory.mktemp("store"))
    store.put("a/b", CONTENT)
    return store


@given(ends, ends)
def test_a_span_is_a_slice_or_an_error(store: LocalStore, start: int, stop: int) -> None:
    if start < stop and stop > len(CONTENT):
        with pytest.raises(CorruptData, match="ends too early"):
            store.get("a/b", (start, stop))
    else:
        assert store.get("a/b", (start, stop)) == CONTENT[start:stop]


def test_a_key_does_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    store = LocalStore(tmp_path / "inside")
    for key in ("../secret", "a/../../secret", str(tmp_path / "secret")):
        with pytest.raises(UsageError):
            store.get(key)
        with pytest.raises(UsageError):
            store.put(key, b"changed")
    assert (tmp_path / "secret").read_text() == "secret"


def test_what_was_put_has_the_rights_that_the_umask_gives(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "usual").touch()
    store = LocalStore(tmp_path)
    store.put("a", b"")
    store.put_file("b", tmp_path / "file")
    store.copy("b", "c")
    modes = {(tmp_path / name).stat().st_mode for name in ("a", "b", "c", "usual")}
    assert len(modes) == 1
    assert not list(tmp_path.glob(".new-*"))
