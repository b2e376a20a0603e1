"""Several writers at once in real processes, and writers that are killed: one winner, no row lost
or doubled, and whatever happens a version that is whole."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from kills import Life, live, tear, tree
from scripts import start

import millstream as ms
from millstream import errors
from millstream.reading.verify import check_bytes, check_parent
from millstream.store import LocalStore
from millstream.versions import load_version

pytestmark = pytest.mark.timeout(200)

# Says that fn is at its first input, and goes on when it is told to.
WRITER = """
    import sys
    import millstream as ms
    from millstream.errors import MillstreamError

    place, mode, first, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])

    def fn(i):
        if i == first:
            print("begun", flush=True)
            sys.stdin.readline()
        return {"id": i, "text": f"{i}" * 100}

    try:
        report = ms.optimize(
            fn, range(first, first + count), place, mode=mode, chunk_size=7, num_workers=0,
            verbose=False,
        )
        print("version", report.version, flush=True)
    except MillstreamError as error:
        print(type(error).__name__, flush=True)
"""


@contextmanager
def writers(folder: Path, mode: str, firsts: list[int]) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that are all in the middle of their jobs."""
    found = [start(WRITER, folder, mode, first, 20, stdin=subprocess.PIPE) for first in firsts]
    try:
        for process in found:
            assert process.stdout is not None
            assert process.stdout.readline() == "begun\n"
        yield found
    finally:
        for process in found:
            process.kill()
            process.communicate()


def go_on(processes: list[subprocess.Popen[str]]) -> list[str]:
    """Lets all of them publish at once; what they say."""
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    said = []
    for process in processes:
        assert process.stdout is not None
        said.append(process.stdout.readline().strip())
        assert process.wait() == 0
    return said


def sample(i: int) -> dict[str, Any]:
    return {"id": i, "text": f"{i}" * 100}


def begin(folder: Path) -> LocalStore:
    ms.optimize(sample, range(30), folder, chunk_size=7, num_workers=0, verbose=False)
    return LocalStore(folder)


def check(store: LocalStore) -> None:
    """Every version is whole, and follows the one before it."""
    for number in range(1, load_version(store).manifest.version + 1):
        version = load_version(store, number)
        assert not any(c.findings for c in check_bytes(store, version.manifest, threads=1))
        assert not check_parent(store, version)


def ids(store: LocalStore, version: int | None = None) -> list[int]:
    return [sample["id"] for sample in ms.StreamingDataset(store.root, version=version)]


@pytest.mark.parametrize("empty", [True, False])
def test_appends_at_once_all_succeed(tmp_path: Path, empty: bool) -> None:
    store = LocalStore(tmp_path / "d") if empty else begin(tmp_path / "d")
    firsts = list(range(100, 700, 100))
    with writers(store.root, "append", firsts) as processes:
        said = go_on(processes)
    numbers = [int(line.removeprefix("version ")) for line in said]
    begun = 0 if empty else 30
    assert sorted(numbers) == list(range(1 + bool(begun), len(firsts) + 1 + bool(begun)))
    in_order = [first for _, first in sorted(zip(numbers, firsts, strict=True))]
    expected = [*range(begun), *(i for first in in_order for i in range(first, first + 20))]
    assert ids(store) == expected
    check(store)
    assert {path.name for path in store.root.iterdir()} == {"chunks", "latest", "runs", "versions"}


def test_of_overwrites_at_once_one_wins(tmp_path: Path) -> None:
    store = begin(tmp_path / "d")
    firsts = [100, 200, 300, 400]
    with writers(store.root, "overwrite", firsts) as processes:
        said = go_on(processes)
    assert sorted(said) == ["OutputNotEmpty"] * 3 + ["version 2"]
    first = firsts[said.index("version 2")]
    assert ids(store) == list(range(first, first + 20))
    assert ids(store, 1) == list(range(30))
    check(store)


def test_the_same_append_twice_at_once_is_one(tmp_path: Path) -> None:
    store = begin(tmp_path / "d")
    with writers(store.root, "append", [100]) as processes:
        second = start(WRITER, store.root, "append", 100, 20, stdin=subprocess.DEVNULL)
        assert second.communicate()[0].splitlines() == ["OutputBusy"]
        # One that differs is not in its way, and does not mistake it for one that was given up.
        ms.optimize(sample, range(50, 60), store.root, mode="append", num_workers=0, verbose=False)
        assert go_on(processes) == ["version 3"]
    assert ids(store) == [*range(30), *range(50, 60), *range(100, 120)]


# Kills -------------------------------------------------------------------------------------------


def job(folder: Path, mode: Any) -> Any:
    return ms.optimize(
        sample, range(100, 110), folder, mode=mode, chunk_size=4, num_workers=0, verbose=False
    )


@pytest.mark.parametrize("mode", ["append", "overwrite"])
def test_killed_before_each_change_to_the_disk(tmp_path: Path, mode: str) -> None:
    undisturbed = live(lambda: prepared(tmp_path / "0", mode), tmp_path)
    whole = tree(tmp_path / "0")
    rows = [*range(30 if mode == "append" else 0), *range(100, 110)]
    changes = [n for n, c in enumerate(undisturbed.changes, 1) if ".job-" in c.path]
    chance, published = random.Random(0), 0
    for number in range(min(changes), len(undisturbed.changes) + 1):
        folder = tmp_path / f"{number}"
        life = live(lambda folder=folder: prepared(folder, mode), tmp_path, number)  # type: ignore[misc]
        assert life.killed
        tear(life, chance)
        store = LocalStore(folder)
        done = was_published(life)
        published += done
        assert ids(store) == (rows if done else list(range(30)))
        check(store)
        assert job(folder, mode).already_done == done
        assert tree(folder) == whole
        assert ids(store) == rows
    assert published >= 5


def prepared(folder: Path, mode: str) -> None:
    """Begins a dataset, and makes its next version."""
    begin(folder)
    job(folder, mode)


def was_published(life: Life) -> bool:
    return sum(change.event == "os.link" for change in life.done) == 2


def test_a_killed_append_that_was_published_is_not_added_again(tmp_path: Path) -> None:
    """Not even if others have added to it since."""
    begin(tmp_path / "d")
    changes = live(lambda: job(tmp_path / "d", "append"), tmp_path).changes
    (link,) = [n for n, change in enumerate(changes, 1) if change.event == "os.link"]
    store = begin(tmp_path / "e")
    assert live(lambda: job(store.root, "append"), tmp_path, link + 1).killed
    # The other one takes the killed job for one that was stopped, and says so.
    with pytest.raises(errors.OutputNotEmpty, match="unfinished job that differs"):
        ms.optimize(sample, range(5), store.root, mode="append", num_workers=0, verbose=False)
    report = job(store.root, "append")
    assert (report.already_done, report.version) == (True, 2)
    assert ids(store) == [*range(30), *range(100, 110)]
