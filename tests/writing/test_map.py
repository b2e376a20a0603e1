"""map: which files there are then, whose they may be, and what the knobs mean."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import everything, write
from hypothesis import given, settings
from hypothesis import strategies as st
from servers.http import HTTPServer

import millstream as ms
from millstream import errors
from millstream.execution import pool
from millstream.writing import map_job
from millstream.writing.map_job import map_tasks

pytestmark = pytest.mark.timeout(200)


def copies(i: int, output_dir: str) -> None:
    """Files as many as i says, some in folders; for 0 none."""
    for n in range(i % 4):
        folder = Path(output_dir, f"{n}" if n > 1 else ".")
        folder.mkdir(exist_ok=True)
        (folder / f"{i}-{n}.txt").write_text(f"{i}" * i)


def run(fn: Any, inputs: Any, folder: Path, **options: Any) -> Any:
    return ms.map(fn, inputs, folder, **{"num_workers": 0, "verbose": False, **options})


def files(folder: Path) -> dict[str, bytes]:
    """What is there but for the notes."""
    return {name: c for name, c in everything(folder).items() if not name.startswith(".map-")}


def expected(inputs: Any, folder: Path) -> dict[str, bytes]:
    folder.mkdir()
    for i in inputs:
        copies(i, str(folder))
    return everything(folder)


class Calls:
    """The inputs that fn was called with in this process."""

    def __init__(self) -> None:
        self.made: list[Any] = []


CALLS = Calls()


def counted(i: Any, output_dir: str) -> None:
    CALLS.made.append(i)
    copies(i, output_dir)


# Files -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 2])
def test_what_fn_writes_is_kept(tmp_path: Path, workers: int) -> None:
    folder = tmp_path / "out"
    report = run(copies, range(30), folder, num_workers=workers)
    whole = expected(range(30), tmp_path / "expected")
    assert files(folder) == whole
    size = sum(map(len, whole.values()))
    assert (report.inputs, report.files, report.bytes) == (30, len(whole), size)
    assert (report.skipped, report.already_done) == ((), False)
    again = run(copies, range(30), folder, num_workers=workers)
    assert (again.files, again.bytes, again.already_done) == (len(whole), size, True)


def test_a_file_that_was_removed_is_made_again_and_no_other(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    run(counted, range(20), folder)
    whole = files(folder)
    (folder / "7-1.txt").unlink()
    (folder / "13-0.txt").write_text("cut")
    CALLS.made.clear()
    assert not run(counted, range(20), folder).already_done
    assert CALLS.made == [7, 13]
    assert files(folder) == whole


def test_other_inputs_are_another_job_and_files_that_are_there_stay(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    run(copies, range(5), folder)
    run(copies, range(5, 9), folder)
    whole = {"notes.txt": b"mine", **expected(range(9), tmp_path / "expected")}
    assert files(folder) == whole


@settings(max_examples=30)
@given(
    inputs=st.integers(1, 5_000),
    weights=st.none() | st.lists(st.floats(0, 100), min_size=1, max_size=9),
)
def test_tasks_are_all_inputs_in_order(inputs: int, weights: list[float] | None) -> None:
    each = None if weights is None else (weights * inputs)[:inputs]
    tasks = map_tasks(inputs, each)
    assert [i for task in tasks for i in range(task.start, task.stop)] == list(range(inputs))
    assert [task.number for task in tasks] == list(range(len(tasks)))
    assert all(0 < task.stop - task.start <= map_job.MOST_INPUTS for task in tasks)


# Names -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 2])
def test_two_inputs_that_write_one_name_are_both_named(tmp_path: Path, workers: int) -> None:
    def fn(path: str, output_dir: str) -> None:
        Path(output_dir, Path(path).name).write_text(path)

    folder = tmp_path / "out"
    with pytest.raises(errors.OutputNotEmpty) as caught:
        run(fn, ["a/1.jpg", "b/2.jpg", "c/1.jpg"], folder, num_workers=workers)
    text = str(caught.value)
    assert "input 2 ('c/1.jpg')" in text
    assert "input 0 ('a/1.jpg')" in text
    assert "both write 1.jpg" in text
    assert (folder / "1.jpg").read_text() in ("a/1.jpg", "c/1.jpg")


def test_a_file_that_was_there_is_replaced_only_if_that_is_asked_for(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "2-0.txt").write_text("mine")
    with pytest.raises(errors.OutputNotEmpty, match=r"input 2 \(2\) writes 2-0.txt, which .* held"):
        run(copies, range(5), folder)
    assert (folder / "2-0.txt").read_text() == "mine"
    run(copies, range(5), folder, mode="overwrite")
    assert files(folder) == expected(range(5), tmp_path / "expected")


def test_a_dataset_is_no_place_for_files(tmp_path: Path) -> None:
    store = write(tmp_path / "d")
    before = everything(store.root)
    with pytest.raises(errors.OutputNotEmpty, match="holds a dataset"):
        run(copies, range(5), store.root)
    assert everything(store.root) == before


@pytest.mark.parametrize("what", ["link", "folder link", "own name"])
def test_what_cannot_be_kept_is_an_error_of_fn(tmp_path: Path, what: str) -> None:
    def fn(i: int, output_dir: str) -> None:
        if what == "own name":
            Path(output_dir, ".map-1").touch()
        else:
            Path(output_dir, "x").symlink_to(__file__ if what == "link" else "/tmp")

    with pytest.raises(errors.FunctionError, match=r"for input 0 \(5\)"):
        run(fn, [5], tmp_path / "out")
    assert files(tmp_path / "out") == {}


# Errors ------------------------------------------------------------------------------------------


def failing(i: int, output_dir: str) -> None:
    Path(output_dir, f"{i}.half").write_text("half")
    if i % 10 == 3 and not (Path(output_dir).parents[4] / "mended").exists():
        raise ValueError(f"not {i}")
    copies(i, output_dir)
    Path(output_dir, f"{i}.half").unlink()


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_names_the_input_and_what_is_done_is_kept(tmp_path: Path, workers: int) -> None:
    folder = tmp_path / "out"
    with pytest.raises(errors.FunctionError, match=r"ValueError: not 3 for input 3 \(3\)"):
        run(failing, range(30), folder, num_workers=workers)
    done = files(folder)
    whole = expected(range(30), tmp_path / "expected")
    assert {f"{i}-0.txt" for i in (1, 2)} <= done.keys()
    assert all(whole[name] == content for name, content in done.items())


def test_errors_can_be_collected_and_those_inputs_are_tried_again(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    report = run(failing, range(30), folder, on_error="skip")
    assert [some.input for some in report.skipped] == [3, 13, 23]
    assert report.skipped[1].error == "ValueError: not 13"
    assert "3 inputs skipped, the first is input 3: ValueError: not 3" in str(report)
    assert files(folder) == expected([i for i in range(30) if i % 10 != 3], tmp_path / "expected")
    (tmp_path / "mended").touch()
    report = run(failing, range(30), folder, on_error="skip")
    assert (report.skipped, report.already_done) == ((), False)
    assert files(folder) == expected(range(30), tmp_path / "all")


def test_a_generator_function_is_run_to_its_end(tmp_path: Path) -> None:
    def fn(i: int, output_dir: str) -> Any:
        Path(output_dir, f"{i}").touch()
        yield

    assert run(fn, [1, 2], tmp_path / "out").files == 2


# Inputs ------------------------------------------------------------------------------------------


def listed(values: Any, output_dir: str) -> None:
    Path(output_dir, f"{values[0]}.json").write_text(json.dumps(values))


def test_batches_of_inputs_and_a_few_for_a_try(tmp_path: Path) -> None:
    run(listed, range(7), tmp_path / "a", batch_size=3)
    assert files(tmp_path / "a") == {
        "0.json": b"[0, 1, 2]", "3.json": b"[3, 4, 5]", "6.json": b"[6]"
    }  # fmt: skip
    assert run(counted, range(50), tmp_path / "b", fast_dev_run=True).inputs == 10
    assert run(counted, range(50), tmp_path / "c", fast_dev_run=4).inputs == 4
    with pytest.warns(UserWarning, match="reorder_files has no effect here: tasks go to"):
        run(counted, range(3), tmp_path / "d", reorder_files=True)


def test_the_heaviest_go_first(tmp_path: Path) -> None:
    CALLS.made.clear()
    run(counted, range(6), tmp_path / "a", weights=[1, 5, 3, 2, 9, 4])
    assert CALLS.made == [4, 1, 5, 2, 3, 0]


def test_urls_become_files_also_in_batches_and_a_reader_opens_them(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    for n in range(5):
        (tmp_path / f"raw/{n}.txt").write_text(f"text {n}")

    def fn(texts: list[str], output_dir: str) -> None:
        Path(output_dir, f"{texts[0]}").write_text("+".join(texts))

    def read(paths: list[str]) -> list[str]:
        assert all(os.path.isabs(path) for path in paths)  # noqa: PTH117
        return [Path(path).read_text() for path in paths]

    options = {"reader": read, "batch_size": 2}
    with HTTPServer(tmp_path / "raw") as server:
        names = [f"{n}.txt" for n in range(5)]
        run(fn, names, tmp_path / "far", input_dir=server.url, **options)
    run(fn, names, tmp_path / "near", input_dir=tmp_path / "raw", **options)
    assert files(tmp_path / "far") == files(tmp_path / "near")
    assert files(tmp_path / "near")["text 2"] == b"text 2+text 3"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"weights": [1]}, "1 weights for 3 inputs"),
        ({"weights": [1, -1, 1]}, r"weights\[1\] is -1"),
        ({"weights": ["a", 1, 1]}, "expected a number for each input"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"fast_dev_run": -1}, "fast_dev_run is -1"),
        ({"reader": 3}, "reader is a int"),
        ({"mode": "append"}, "mode is 'append'"),
        ({"on_error": "no"}, "on_error is 'no'"),
        ({"num_workers": -1}, "num_workers is -1"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(errors.UsageError, match=said):
        run(copies, range(3), tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_a_worker_that_dies_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(map_job, "TASKS", 4)
    monkeypatch.setattr(pool, "QUICK_SECONDS", 0)
    calls = tmp_path / "calls"

    def fn(i: int, output_dir: str) -> None:
        import signal

        with calls.open("a") as file:
            file.write(f"{i}\n")
        Path(output_dir, f"{i}-0.txt").write_text("half")
        if i == 9 and calls.read_text().split().count("9") == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        if i == 14 and not (tmp_path / "mended").exists():
            os.kill(os.getpid(), signal.SIGKILL)
        Path(output_dir, f"{i}-0.txt").write_text(f"{i}")

    with pytest.raises(errors.WorkerDied, match="inputs 10 to 14: 3 workers died"):
        run(fn, range(20), tmp_path / "out", num_workers=2)
    (tmp_path / "mended").touch()
    run(fn, range(20), tmp_path / "out", num_workers=2)
    assert files(tmp_path / "out") == {f"{i}-0.txt": f"{i}".encode() for i in range(20)}
    counts = np.bincount([int(line) for line in calls.read_text().split()], minlength=20)
    assert counts[9] == 2
    assert counts[14] == 4
    assert (np.delete(counts, [9, 14]) == 1).all()
