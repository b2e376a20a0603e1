"""Jobs for a cluster that is not there: an error that says what to do, and nothing in the way."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Lock
from typing import Any

import pytest
from apart import Apart
from buckets import Bucket

import millstream as ms
from millstream import errors
from millstream.store import open_store

pytestmark = pytest.mark.timeout(100)


@pytest.fixture
def nobody() -> Iterator[ms.RayExecutor]:
    """Of an address that nobody listens at."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield ms.RayExecutor(address=f"127.0.0.1:{taken.getsockname()[1]}")


@pytest.fixture(params=["folder", "bucket"])
def place(request: Any, tmp_path: Path) -> tuple[str, dict[str, Any]]:
    if request.param == "folder":
        return str(tmp_path / "out"), {}
    bucket: Bucket = request.getfixturevalue("bucket")
    return bucket.url, bucket.options


def call(fn: Any, place: tuple[str, dict[str, Any]], **options: Any) -> Any:
    """optimize, or map for a function of two."""
    job: Callable[..., Any] = ms.optimize if fn.__code__.co_argcount == 1 else ms.map
    given = {"verbose": False, "storage_options": place[1] or None, **options}
    return job(fn, range(9), place[0], **given)


def sample(i: int) -> int:
    return i


def other(i: int) -> int:
    return i + 1


def files_of(i: int, output_dir: str) -> None:
    Path(output_dir, f"{i}.txt").write_text("x")


def others_of(i: int, output_dir: str) -> None:
    Path(output_dir, f"{i}.txt").write_text("y")


@pytest.mark.parametrize(("fn", "mended"), [(sample, other), (files_of, others_of)])
def test_the_error_says_what_to_do_and_nothing_is_left(
    nobody: ms.RayExecutor, place: Any, fn: Any, mended: Any
) -> None:
    with pytest.raises(errors.ClusterUnavailable, match=f"at {nobody.address}.*ray start --head"):
        call(fn, place, executor=nobody)
    assert list(open_store(place[0], place[1] or None).list("")) == []
    # So another job may have the place, here and at once.
    assert not call(mended, place, num_workers=0).already_done


def test_a_function_that_cannot_travel_is_mended_and_the_call_made_again(place: Any) -> None:
    lock = Lock()
    with pytest.raises(errors.NotPicklable):
        call(lambda i: lock, place, executor=Apart(1))
    assert call(other, place, num_workers=0).samples == 9


def test_what_was_made_before_is_kept_and_gone_on_with(
    nobody: ms.RayExecutor, place: Any, tmp_path: Path
) -> None:
    calls, bad = tmp_path / "calls", tmp_path / "bad"
    bad.touch()

    def fn(i: int) -> int:
        with calls.open("a") as file:
            file.write(f"{i}\n")
        if i == 6 and bad.exists():
            raise ValueError("no")
        return i

    with pytest.raises(errors.FunctionError):
        call(fn, place, executor=Apart())
    with pytest.raises(errors.ClusterUnavailable):
        call(fn, place, executor=nobody)
    with pytest.raises(errors.OutputNotEmpty, match="unfinished job"):
        call(other, place, num_workers=0)
    bad.unlink()
    assert call(fn, place, executor=Apart()).samples == 9
    assert sorted(map(int, calls.read_text().split())) == sorted([*range(9), 6])
