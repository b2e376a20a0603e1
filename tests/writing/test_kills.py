"""A job killed at any moment goes on: only what is missing is done, and the bytes are the same."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kills import Life, live, tear, tree

import millstream as ms
from millstream import errors
from millstream.writing import tasks

pytestmark = pytest.mark.timeout(200)

INPUTS = 14


class Calls:
    """The inputs that fn was called with in this process."""

    def __init__(self) -> None:
        self.made: list[int] = []


CALLS = Calls()


def fn(i: int) -> Iterator[Any]:
    """No sample for 4 and 5, a task of their own; one or two for others; 8 fails after its one."""
    CALLS.made.append(i)
    for n in range(0 if i in (4, 5) else 1 + i % 2):
        yield {"id": i, "n": np.full(i % 3, n), "text": f"{i}" * (50 * (i % 5 + 1))}
    if i == 8:
        raise ValueError("this one is skipped")


def job(folder: Path) -> Any:
    return ms.optimize(
        fn,
        range(INPUTS),
        folder,
        num_workers=0,
        chunk_bytes="1500B",
        on_error="skip",
        verbose=False,
    )


@pytest.fixture(autouse=True, scope="module")
def two_inputs_a_task() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tasks, "MAX_TASKS", INPUTS // 2)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, two_inputs_a_task: None) -> dict[str, Any]:
    """What an undisturbed job leaves."""
    folder = tmp_path_factory.mktemp("whole") / "d"
    report = job(folder)
    assert report.chunks >= 5
    assert len(report.skipped) == 1
    return tree(folder)


def finished_tasks(life: Life) -> set[int]:
    """Those whose segments have their names."""
    names = [Path(change.path) for change in life.done if change.event == "os.rename"]
    return {int(path.name) for path in names if path.parent.name == "segments"}


def was_published(life: Life) -> bool:
    return any(change.event == "os.link" for change in life.done)


def finish(folder: Path, whole: dict[str, Any], *lives: Life) -> None:
    """Runs the job to its end: it calls fn for what is missing alone, and leaves what it should."""
    done = set().union(*map(finished_tasks, lives))
    CALLS.made.clear()
    report = job(folder)
    assert [i for i in range(INPUTS) if i // 2 not in done] == CALLS.made
    assert report.already_done == any(map(was_published, lives))
    assert tree(folder) == whole


def test_killed_before_each_change_to_the_disk(tmp_path: Path, whole: dict[str, Any]) -> None:
    undisturbed = live(lambda: job(tmp_path / "0"), tmp_path)
    assert not undisturbed.killed
    assert tree(tmp_path / "0") == whole
    chance, torn = random.Random(0), []
    for number in range(1, len(undisturbed.changes) + 1):
        folder, other = tmp_path / f"{number}", tmp_path / f"{number} torn"
        life = live(lambda folder=folder: job(folder), tmp_path, number)  # type: ignore[misc]
        assert life.killed
        if folder.exists():
            shutil.copytree(folder, other)
        finish(folder, whole, life)
        # The same, killed a little earlier: in the middle of writing a file.
        if tear(moved(life, folder, other), chance):
            torn.append(Path(life.done[-1].path).name)
            finish(other, whole, life)
    assert len(torn) >= 25


def moved(life: Life, folder: Path, other: Path) -> Life:
    changes = [replace(c, path=c.path.replace(str(folder), str(other))) for c in life.changes]
    return Life(life.killed, changes)


@settings(max_examples=60)
@given(first=st.integers(1, 119), second=st.integers(1, 119), seed=st.integers(0, 1000))
def test_killed_twice(
    tmp_path_factory: pytest.TempPathFactory,
    whole: dict[str, Any],
    first: int,
    second: int,
    seed: int,
) -> None:
    folder = tmp_path_factory.mktemp("twice") / "d"
    chance = random.Random(seed)
    lives = []
    for number in (first, second):
        lives.append(live(lambda: job(folder), folder, number))
        if seed % 2 and lives[-1].killed:
            tear(lives[-1], chance)
    finish(folder, whole, *lives)
    shutil.rmtree(folder.parent)


def nothing(i: int) -> None:
    return None


def job_of_nothing(folder: Path) -> None:
    ms.optimize(nothing, range(INPUTS), folder, num_workers=0, verbose=False)


def test_what_a_killed_job_leaves_is_never_taken_for_another_s(
    tmp_path: Path, whole: dict[str, Any]
) -> None:
    def quietly(folder: Path) -> None:
        with suppress(errors.UsageError):
            job_of_nothing(folder)

    changes = len(live(lambda: quietly(tmp_path / "0"), tmp_path).changes)
    assert changes > 30
    refused = 0
    for number in range(1, changes + 1):
        folder = tmp_path / f"{number}"
        live(lambda folder=folder: quietly(folder), tmp_path, number)  # type: ignore[misc]
        try:
            job(folder)
        except errors.OutputNotEmpty:
            refused += 1
            with pytest.raises(errors.UsageError, match="none of the 14 inputs"):
                job_of_nothing(folder)
            job(folder)
        assert tree(folder) == whole
    assert 0 < refused < changes


def lose_power(folder: Path, chance: random.Random) -> None:
    """Does to what was not synced what a power cut may do to it."""
    unsynced = [*folder.glob(".job/segments/*"), *folder.glob(".job/chunks/*")]
    for path in unsynced:
        content = path.read_bytes()
        match chance.randrange(4):
            case 0:
                path.unlink()
            case 1:
                path.write_bytes(content[: chance.randrange(len(content) + 1)])
            case 2:
                path.write_bytes(bytes(len(content)))
    if not (folder / "versions").exists():
        for path in folder.glob("chunks/*"):
            if chance.randrange(2):
                path.unlink()


def test_after_a_power_cut_only_what_is_whole_is_believed(
    tmp_path: Path, whole: dict[str, Any]
) -> None:
    chance = random.Random(0)
    for number in range(1, 119, 2):
        folder = tmp_path / f"{number}"
        live(lambda folder=folder: job(folder), tmp_path, number)  # type: ignore[misc]
        lose_power(folder, chance)
        job(folder)
        assert tree(folder) == whole


def test_chunks_are_on_the_disk_before_the_manifest_names_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[tuple[str, int]] = []  # what was done, and the inode it was done to

    def watch(name: str) -> None:
        real = getattr(os, name)

        def watched(target: Any, *others: Any) -> Any:
            steps.append((name, os.stat(target).st_ino))  # noqa: PTH116 - of a descriptor too
            return real(target, *others)

        monkeypatch.setattr(os, name, watched)

    for name in ("fsync", "replace", "link"):
        watch(name)
    job(tmp_path / "d")
    monkeypatch.undo()
    (published,) = [n for n, (name, _) in enumerate(steps) if name == "link"]

    def last(path: Path, *names: str) -> int:
        """Where the last step on a file is; inodes are used again, so only the last ones count."""
        inode = path.stat().st_ino
        found = [(n, name) for n, (name, some) in enumerate(steps) if some == inode]
        assert tuple(name for _, name in found[-len(names) :]) == names
        return found[-1][0]

    named = [last(path, "fsync", "replace") for path in (tmp_path / "d/chunks").iterdir()]
    for folder in (tmp_path / "d/chunks", tmp_path / "d"):
        assert ("fsync", folder.stat().st_ino) in steps[max(named) : published]
    assert last(tmp_path / "d/versions/000000000001", "fsync", "link") == published
    assert ("fsync", (tmp_path / "d/versions").stat().st_ino) in steps[published:]
