"""Whether two names of data are of the same: what was moved is, what was changed is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.errors import StateMismatch
from millstream.plan.version import compare_versions, content_of, shortened

digests = st.sampled_from(["a" * 16, "b" * 16, "c" * 64])
names = st.builds(
    lambda digest, place, writing, words: (
        f"{digest}@{place}:{writing}{words}" if place else f"{digest}{words}"
    ),
    digests,
    st.sampled_from(["", "here", "there"]),
    st.sampled_from(["old", "new"]),
    st.sampled_from(["", " (3 files, 1,234 bytes)"]),
)
versions = st.lists(names, min_size=1, max_size=3).map("+".join)


def is_same(saved: str, present: str) -> bool:
    try:
        compare_versions(saved, present)
    except StateMismatch:
        return False
    return True


@given(versions, versions)
def test_it_takes_the_same_content_and_at_one_place_the_same_writing(one: str, two: str) -> None:
    assert is_same(one, one)
    assert is_same(one, two) == is_same(two, one)
    if is_same(one, two):
        assert content_of(one) == content_of(two)
    elif content_of(one) == content_of(two):  # then at one place something was written
        assert is_same(one, two.replace("here", "else"))


@given(versions)
def test_names_in_short_are_of_the_same(version: str) -> None:
    short = shortened(version)
    assert shortened(short) == short
    assert " " not in short
    assert "c" * 17 not in short
    assert short.count("@") == version.count("@")


@pytest.mark.parametrize(
    ("saved", "present", "told"),
    [
        ("a@p:1 (2 files)", "b@p:1 (3 files)", r"a \(2 files\) of a dataset.*b \(3 files\)\. Open"),
        ("a@p:1 (2 files)", "a@p:2 (2 files)", "same paths and sizes now, but some files were"),
        ("a+b", "a+c", "version b of dataset 1, this is version c"),
        ("a+b@p:1", "a+b@p:2", "version b of dataset 1: there are"),
        ("a+b", "a", r"version a\+b of a dataset, this is version a\."),
        ("v" * 64, "w" * 64, f"version {'v' * 16} of a dataset, this is version {'w' * 16}"),
    ],
)
def test_what_differs_is_named(saved: str, present: str, told: str) -> None:
    with pytest.raises(StateMismatch, match=told):
        compare_versions(saved, present)
