"""The same call goes on or reports; another one is refused: what is there, and what differs."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import millstream as ms
from millstream import errors


def reader(size: object, stop: Path) -> Callable[[Any], Any]:
    """A function that closes over a size, and raises as long as a file is there."""

    def fn(value: Any) -> dict[str, str]:
        if value == "d" and stop.exists():
            raise ValueError("stop here")
        return {"value": f"{value} {size}"}

    return fn


@pytest.fixture
def stop(tmp_path: Path) -> Path:
    (tmp_path / "stop").touch()
    return tmp_path / "stop"


def write(folder: Path, fn: Any, inputs: Any = "abcdef", **options: Any) -> Any:
    return ms.optimize(fn, list(inputs), folder, num_workers=0, verbose=False, **options)


def refusal(*arguments: Any, **options: Any) -> str:
    with pytest.raises(errors.OutputNotEmpty) as caught:
        write(*arguments, **options)
    return str(caught.value)


def test_an_unfinished_job_says_what_changed(tmp_path: Path, stop: Path) -> None:
    folder = tmp_path / "d"
    with pytest.raises(errors.FunctionError):
        write(folder, reader(224, stop))
    name = f"{__name__}.reader.<locals>.fn"
    changed = f"the closed-over variable `size` of {name} (now 256, then 224)"
    text = refusal(folder, reader(256, stop))
    assert f"{folder} holds an unfinished job that differs from this one in: {changed}. " in text
    assert "Run that job to its end" in text
    assert "input 2 is now 'x', was another value" in refusal(folder, reader(224, stop), "abxdef")
    assert "inputs 6 to 7 were added" in refusal(folder, reader(224, stop), "abcdefgh")
    assert "chunk_size (now 2, then None)" in refusal(folder, reader(224, stop), chunk_size=2)
    stop.unlink()
    assert write(folder, reader(224, stop)).samples == 6


def test_a_finished_dataset_of_another_job_says_so(tmp_path: Path, stop: Path) -> None:
    stop.unlink()
    folder = tmp_path / "d"
    write(folder, reader(224, stop))
    text = refusal(folder, reader(256, stop), "abcdefg")
    name = f"{__name__}.reader.<locals>.fn"
    assert text.startswith(f"{folder} holds a finished dataset of 6 samples by {name}. ")
    assert f"the code of {name}, or a value that it uses" in text
    assert "the inputs (now a sequence of 7, then a sequence of 6)" in text
    assert "Choose another output folder, or pass mode=" in text
    assert text.endswith("this dataset was not changed")
    shutil.rmtree(folder / "runs")
    assert "finished dataset of 6 samples. Choose another" in refusal(folder, reader(224, stop))
    # A record of a run is not a dataset.
    shutil.rmtree(folder)
    write(folder, reader(224, stop))
    shutil.rmtree(folder / "versions")
    assert "it holds chunks, latest, runs" in refusal(folder, reader(224, stop))


def test_what_a_function_closes_over_is_not_written_down(tmp_path: Path, stop: Path) -> None:
    stop_names = ("secret-password", b"secret-password", {"k": "secret-password"})
    for number, value in enumerate(stop_names):
        with pytest.raises(errors.FunctionError):
            write(tmp_path / f"{number}", lambda i, v=value: len(v) // 0, "ab")
    found = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.name == "job.json" for path in found)
    assert not [path for path in found if b"secret" in path.read_bytes()]


def test_what_is_left_of_a_finished_job_is_removed_unless_its_process_is_at_it(
    tmp_path: Path, stop: Path
) -> None:
    stop.unlink()
    folder = tmp_path / "d"
    write(folder, reader(1, stop))
    (folder / ".job/segments").mkdir(parents=True)
    with (folder / ".job/lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert write(folder, reader(1, stop)).already_done
        assert (folder / ".job/segments").exists()
    assert write(folder, reader(1, stop)).already_done
    assert sorted(os.listdir(folder)) == ["chunks", "latest", "runs", "versions"]  # noqa: PTH208


def test_a_lock_on_a_folder_that_is_gone_is_none(
    tmp_path: Path, stop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop.unlink()
    flock = fcntl.flock

    def too_late(lock: int, how: int) -> None:
        shutil.rmtree(tmp_path / "d/.job")  # as the process does that had it
        flock(lock, how)

    monkeypatch.setattr(fcntl, "flock", too_late)
    with pytest.raises(errors.OutputBusy):
        write(tmp_path / "d", reader(1, stop))
    monkeypatch.undo()
    assert write(tmp_path / "d", reader(1, stop)).samples == 6


class Seen:
    """Paths; in the eyes of a job nothing but an object of this class."""

    def __init__(self) -> None:
        self.paths: set[Path] = set()


def test_a_worker_that_outlives_its_run_cannot_disturb_the_next(tmp_path: Path, stop: Path) -> None:
    seen, folder = Seen(), tmp_path / "d"

    def fn(value: Any) -> str:
        seen.paths.update((folder / ".job/temporary").iterdir())
        if stop.exists():
            raise ValueError("stop here")
        return str(value)

    with pytest.raises(errors.FunctionError):
        write(folder, fn)
    stop.unlink()
    write(folder, fn)
    # Each run has a folder of its own for files without a name, which ends with the run.
    assert len(seen.paths) == 2
    assert not any(path.exists() for path in seen.paths)


def test_a_function_that_notes_its_calls_goes_on_in_the_same_process(tmp_path: Path) -> None:
    calls: list[int] = []
    broken = [True]

    def fn(i: int) -> int:
        calls.append(i)
        if i == 30 and broken:
            broken.clear()
            raise ValueError("once")
        return i

    with pytest.raises(errors.FunctionError):
        ms.optimize(fn, range(40), tmp_path / "d", num_workers=0, verbose=False)
    assert calls == list(range(31))
    calls.clear()
    ms.optimize(fn, range(40), tmp_path / "d", num_workers=0, verbose=False)
    assert calls == list(range(30, 40))
    assert ms.optimize(fn, range(40), tmp_path / "d", num_workers=0, verbose=False).already_done
