"""Chunks that wait for the disk while workers go on."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from kills import tree

import millstream as ms
from millstream.errors import StorageError
from millstream.writing import local_job
from millstream.writing.placed import ChunkRecord, Placed
from millstream.writing.settling import MOST, Settling, settling


@dataclass
class Slow:
    """A place whose disk is done with a chunk when the test says so."""

    events: list[str] = field(default_factory=list)
    doors: dict[str, threading.Event] = field(default_factory=dict)

    def put(self, digest: str, pieces: Iterable[memoryview]) -> None:
        raise AssertionError

    def settle(self, digest: str) -> None:
        self.doors[digest].wait()
        self.events.append(f"settled {digest}")

    def record(self, sequence: int, content: bytes) -> None:
        self.events.append(f"recorded {sequence}")


def placed(digest: str) -> Placed:
    chunk = ChunkRecord(digest=digest, size=1, rows=1, lead=1, shapes=())
    return Placed(chunk=chunk, start=(0, 0), stop=(0, 1))


def test_chunks_come_in_order_and_are_recorded_after_they_are_settled() -> None:
    place = Slow(doors={name: threading.Event() for name in "abc"})
    with settling(place, threads=3) as some:
        for sequence, name in enumerate("abc"):
            some.add(sequence, placed(name))
        assert list(some.finished()) == []
        for name in "cba":
            place.doors[name].set()
        assert [sequence for sequence, _ in some.finished(wait=True)] == [0, 1, 2]
    for sequence, name in enumerate("abc"):
        at = place.events.index(f"settled {name}")
        assert place.events.index(f"recorded {sequence}") > at


def test_no_more_than_so_many_wait() -> None:
    names = [f"{n}" for n in range(MOST + 2)]
    place = Slow(doors={name: threading.Event() for name in names})
    with ThreadPoolExecutor(1) as pool:
        some = Settling(place, pool)
        for number, name in enumerate(names):
            some.add(number, placed(name))
        asked = iter(some.finished())
        place.doors["0"].set()
        place.doors["1"].set()
        # It waited for these two: the first could not be there before its door was open.
        assert [next(asked)[0], next(asked)[0]] == [0, 1]
        assert next(asked, None) is None
        for door in place.doors.values():
            door.set()


def test_without_threads_it_is_done_at_once() -> None:
    place = Slow(doors={"a": threading.Event()})
    place.doors["a"].set()
    with settling(place, threads=0) as some:
        some.add(0, placed("a"))
        assert place.events == ["settled a", "recorded 0"]
        assert [sequence for sequence, _ in some.finished()] == [0]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_disk_that_fails_is_an_error_and_the_next_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    calls: list[str] = []

    def write(folder: Path) -> None:
        ms.optimize(
            lambda i: {"text": str(i) * 300},
            range(200),
            folder,
            chunk_bytes="10kB",
            num_workers=workers,
            verbose=False,
        )

    def failing(path: Path) -> None:
        calls.append(path.name)
        if len(calls) == 3:
            raise OSError(errno.EIO, "the disk says no")

    write(tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(local_job, "wait_for_disk", failing)
        with pytest.raises(StorageError, match="the disk says no"):
            write(tmp_path / "d")
    recorded = list((tmp_path / "d" / ".job" / "chunks").iterdir())
    # What was not on the disk is neither named nor recorded.
    assert len(recorded) == len(list((tmp_path / "d" / "chunks").iterdir())) == len(calls) - 1
    write(tmp_path / "d")
    assert tree(tmp_path / "d") == tree(tmp_path / "whole")
