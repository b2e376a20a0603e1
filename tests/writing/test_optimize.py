"""optimize(): the same bytes whoever writes them; every failure is one clear error, and goes on."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
from functools import partial
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from scripts import SOURCE, start
from small_reader import small_dataset
from strategies import Point, same

import millstream as ms
from millstream import errors
from millstream.reading.dataset import stream_of
from millstream.store import LocalStore

pytestmark = pytest.mark.timeout(200)


def files(folder: Path) -> dict[str, str]:
    """The digest of every file but the records of runs."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "runs" not in path.parts
    }


def sample(i: int) -> dict[str, Any]:
    return {
        "id": i,
        "text": "x" * (i * 37 % 400),
        "even": np.zeros(3, np.float32) + i,
        "odd": np.arange(i % 4),
        "where": Point(i / 3, [None, b"abc"[: i % 3]]),
    }


def write(folder: Path, fn: Any = sample, inputs: Any = range(600), **options: Any) -> Any:
    options = {"num_workers": 0, "chunk_bytes": "8KB", "verbose": False, **options}
    return ms.optimize(fn, inputs, folder, **options)


def test_the_same_bytes_for_any_number_of_workers(tmp_path: Path) -> None:
    reports = [write(tmp_path / str(n), num_workers=n) for n in (0, 1, 2, 3, 8)]
    expected = files(tmp_path / "0")
    assert all(files(tmp_path / str(n)) == expected for n in (1, 2, 3, 8))
    assert {(r.samples, r.chunks, r.bytes) for r in reports} == {
        (600, reports[0].chunks, reports[0].bytes)
    }
    found = small_dataset(tmp_path / "8")
    assert len(found) == 600
    assert all(same(one, sample(i)) for i, one in enumerate(found))
    assert all(same(one, sample(i)) for i, one in enumerate(ms.StreamingDataset(tmp_path / "3")))


def test_the_key_order_of_a_sample_decides_nothing(tmp_path: Path) -> None:
    def turned(i: int) -> dict[str, Any]:
        pairs = list(sample(i).items())
        return dict(pairs[:: 1 if i % 2 else -1])

    write(tmp_path / "a", turned, inputs=list(range(1, 50)))
    write(tmp_path / "b", lambda i: sample(i), inputs=list(range(1, 50)))
    chunks = [ms.StreamingDataset(tmp_path / n) for n in "ab"]
    assert all(same(a, b) for a, b in zip(*chunks, strict=True))


@pytest.mark.parametrize("size", ["6KB", "20KB"])
def test_chunks_are_near_their_size_and_never_over(tmp_path: Path, size: str) -> None:
    report = write(tmp_path / "d", inputs=range(2_000), chunk_bytes=size)
    limit = int(size[:-2]) * 1000
    sizes = [path.stat().st_size for path in (tmp_path / "d/chunks").iterdir()]
    assert report.chunks >= 20
    assert max(sizes) <= limit
    assert np.mean(sizes) >= 0.7 * limit


def test_a_large_sample_has_a_chunk_of_its_own(tmp_path: Path) -> None:
    write(tmp_path / "d", lambda i: b"x" * (50_000 if i == 5 else 100), range(10))
    assert list(map(len, ms.StreamingDataset(tmp_path / "d"))) == [100] * 5 + [50_000] + [100] * 4
    sizes = sorted(path.stat().st_size for path in (tmp_path / "d/chunks").iterdir())
    assert len(sizes) == 3
    assert sizes[-1] > 50_000 > 8_000 > sizes[1]


def test_chunk_size_counts_samples(tmp_path: Path) -> None:
    write(tmp_path / "d", inputs=range(100), chunk_bytes=None, chunk_size=30)
    assert stream_of(ms.StreamingDataset(tmp_path / "d")).source.chunk_rows.tolist() == [
        30,
        30,
        30,
        10,
    ]


def test_functions_of_every_form(tmp_path: Path) -> None:
    class Callable_:  # noqa: N801
        def __call__(self, i: int) -> int:
            return i * 2

    def some(i: int) -> Any:
        yield from range(i % 3)

    offset = 100
    forms: dict[str, tuple[Any, list[int]]] = {
        "lambda": (lambda i: i + offset, [100, 101, 102, 103]),
        "partial": (partial(pow, 2), [1, 2, 4, 8]),
        "object": (Callable_(), [0, 2, 4, 6]),
        "generator": (some, [0, 0, 1]),
        "filter": (lambda i: i if i % 2 else None, [1, 3]),
        "iterator": (lambda i: iter([i, i]), [0, 0, 1, 1, 2, 2, 3, 3]),
    }
    for name, (fn, expected) in forms.items():
        write(tmp_path / name, fn, range(4), num_workers=2)
        assert ms.StreamingDataset(tmp_path / name)[:] == expected


def test_a_buffer_may_be_reused(tmp_path: Path) -> None:
    def fn(start: int) -> Any:
        buffer = np.zeros(4)
        for i in range(3):
            buffer[:] = start + i
            yield buffer

    write(tmp_path / "d", fn, [0, 10])
    firsts = [int(a[0]) for a in ms.StreamingDataset(tmp_path / "d")]
    assert firsts == [0, 1, 2, 10, 11, 12]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("fn", "kind", "words"),
    [
        (
            lambda i: {"a": 1 if i != 50 else "x"},
            errors.SampleError,
            ["input 50", "'a'", "str", "int"],
        ),
        (lambda i: {"a": [1] * (1 + (i == 50))}, errors.SampleError, ["input 50", "length 2"]),
        (lambda i: (i,) if i != 50 else [i], errors.SampleError, ["input 50", "list", "tuple"]),
        (lambda i: np.zeros(2, "f4" if i != 50 else "f8"), errors.SampleError, ["<f8", "<f4"]),
        (lambda i: i if i != 50 else object(), errors.SampleError, ["input 50", "object"]),
        (lambda i: i if i != 50 else 1 << 70, errors.SampleError, ["input 50", "64 bits"]),
        (lambda i: 1 // (50 - i), errors.FunctionError, ["input 50", "ZeroDivisionError", "line"]),
    ],
)
def test_what_is_wrong_with_a_sample_is_said(
    tmp_path: Path, workers: int, fn: Any, kind: type[Exception], words: list[str]
) -> None:
    with pytest.raises(kind) as caught:
        write(tmp_path / "d", fn, range(60), num_workers=workers)
    assert all(word in str(caught.value) for word in words)
    with pytest.raises(errors.DatasetNotFound):
        ms.StreamingDataset(tmp_path / "d")
    assert not (tmp_path / "d/.job/temporary").exists()


def test_types_that_differ_between_tasks_are_found(tmp_path: Path) -> None:
    with pytest.raises(errors.SampleError, match=r"input 1[0-9]{3} .*'value' is str.* int"):
        write(tmp_path / "d", lambda i: i if i < 1_500 else "x", range(3_000), num_workers=2)


def test_skipped_inputs_are_reported(tmp_path: Path) -> None:
    def fn(i: int) -> Any:
        yield i
        if i % 10 == 3:
            raise ValueError(f"no {i}")
        yield i

    report = write(tmp_path / "d", fn, range(40), on_error="skip", num_workers=2)
    assert [(s.input, s.kept) for s in report.skipped] == [(i, 1) for i in (3, 13, 23, 33)]
    assert "ValueError: no 3" in str(report)
    assert len(ms.StreamingDataset(tmp_path / "d")) == 76 == report.samples


@pytest.mark.parametrize(
    "options",
    [
        {"inputs": []},
        {"inputs": "folder"},
        {"inputs": {1: 2}},
        {"inputs": iter([1])},
        {"fn": 3},
        {"num_workers": -1},
        {"chunk_bytes": "lots"},
        {"chunk_bytes": 0},
        {"chunk_size": 0},
        {"on_error": "ignore"},
        {"fn": lambda i: None},
    ],
)
def test_arguments_that_make_no_sense(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(errors.UsageError):
        write(tmp_path / "d", **options)
    assert not (tmp_path / "d/versions").exists()


def test_what_cannot_travel_is_said_before_anything_starts(tmp_path: Path) -> None:
    lock = threading.Lock()
    with pytest.raises(errors.NotPicklable, match="function"):
        write(tmp_path / "a", lambda i: lock, range(3), num_workers=1)
    with pytest.raises(errors.NotPicklable, match="inputs"):
        write(tmp_path / "b", sample, [lock], num_workers=1)


def test_foreign_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("three years")
    with pytest.raises(errors.OutputNotEmpty, match=r"thesis\.tex"):
        write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(errors.OutputNotEmpty):
        write(tmp_path / "thesis.tex")


def test_a_finished_job_reports_and_another_is_refused(tmp_path: Path) -> None:
    first = write(tmp_path / "d")
    before = files(tmp_path / "d")
    again = write(tmp_path / "d", num_workers=2)
    assert again.already_done
    assert (again.samples, again.bytes, again.chunks) == (600, first.bytes, first.chunks)
    with pytest.raises(errors.OutputNotEmpty):
        write(tmp_path / "d", inputs=range(601))
    assert files(tmp_path / "d") == before


def test_a_stopped_job_goes_on_and_gives_the_same_bytes(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    broken = tmp_path / "broken"

    def fn(i: int) -> Any:
        with ran.open("a") as file:
            file.write(f"{i}\n")
        if i == 400 and broken.exists():
            raise ValueError("stop here")
        return sample(i)

    write(tmp_path / "whole", fn)
    ran.unlink()
    broken.touch()
    with pytest.raises(errors.FunctionError):
        write(tmp_path / "d", fn)
    assert (tmp_path / "d/chunks").exists()
    with pytest.raises(errors.OutputNotEmpty, match="chunk_bytes"):
        write(tmp_path / "d", fn, chunk_bytes="9KB")
    with pytest.raises(errors.OutputNotEmpty, match="inputs"):
        write(tmp_path / "d", fn, range(700))
    broken.unlink()
    done = set(ran.read_text().split())
    ran.unlink()
    report = write(tmp_path / "d", fn, num_workers=2)
    assert report.samples == 600
    assert files(tmp_path / "d") == files(tmp_path / "whole")
    # Only the task that failed, and those after it, ran again.
    assert set(ran.read_text().split()) & done == {"400"}


def test_a_full_disk_is_one_clear_error_and_the_job_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adopt = LocalStore.adopt
    calls = []

    def full(self: LocalStore, file: Path, key: str) -> None:
        calls.append(key)
        if len(calls) == 3:
            raise errors.StorageError(28, "No space left on device")
        adopt(self, file, key)

    monkeypatch.setattr(LocalStore, "adopt", full)
    with pytest.raises(errors.StorageError, match="No space left"):
        write(tmp_path / "d")
    monkeypatch.undo()
    write(tmp_path / "d")
    write(tmp_path / "whole")
    assert files(tmp_path / "d") == files(tmp_path / "whole")


def test_a_worker_that_keeps_dying_is_an_error_that_names_the_inputs(tmp_path: Path) -> None:
    def fn(i: int) -> int:
        if i == 7:
            os.kill(os.getpid(), signal.SIGKILL)
        return i

    with pytest.raises(errors.WorkerDied, match="inputs 7 to 7"):
        write(tmp_path / "d", fn, range(20), num_workers=2)


def test_a_worker_that_dies_once_loses_nothing(tmp_path: Path) -> None:
    once = tmp_path / "once"

    def fn(i: int) -> dict[str, Any]:
        if i == 300 and not once.exists():
            once.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return sample(i)

    write(tmp_path / "d", fn, num_workers=2)
    assert [s["id"] for s in ms.StreamingDataset(tmp_path / "d")] == list(range(600))


def test_two_jobs_in_one_folder_are_refused(tmp_path: Path) -> None:
    def fn(i: int) -> int:
        with pytest.raises(errors.OutputBusy):
            write(tmp_path / "d", fn, range(3))
        return i

    assert write(tmp_path / "d", fn, range(3)).samples == 3


SCRIPT = """
    import millstream as ms
    print("script")
    class Reader:
        def __init__(self, n): self.n = n
    inputs = [Reader(n) for n in range(20)]
    ms.optimize(lambda r: {"n": r.n}, inputs, "out", num_workers=2, verbose=False)
    print(sum(s["n"] for s in ms.StreamingDataset("out")))
"""


def test_a_script_without_a_main_guard(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    environment = {**os.environ, "PYTHONPATH": SOURCE}
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("script\n190\n", "")


def test_a_notebook_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", SOURCE)
    cells = [
        "import millstream as ms\nfactor = 3\ndef fn(i):\n    return {'n': i * factor}",
        f"ms.optimize(fn, range(10), {str(tmp_path / 'd')!r}, num_workers=2, verbose=False)",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    NotebookClient(notebook, timeout=100, kernel_name="python3").execute()
    assert [s["n"] for s in ms.StreamingDataset(tmp_path / "d")] == [3 * i for i in range(10)]


def test_killed_again_and_again_it_ends_with_the_same_bytes(tmp_path: Path) -> None:
    code = """
        import sys
        import millstream as ms
        def fn(i):
            print(i, flush=True)
            return {"id": i, "text": "x" * (i % 300)}
        ms.optimize(fn, range(3000), sys.argv[1], chunk_bytes="20KB", num_workers=2, verbose=False)
    """

    for lines in (1, 500, 900, 1_200):
        process = start(code, tmp_path / "killed")
        assert process.stdout is not None
        for _ in range(lines):
            process.stdout.readline()
        process.kill()
        process.communicate()  # ends when no worker holds the pipe
    for folder in ("killed", "whole"):
        process = start(code, tmp_path / folder)
        process.communicate()
        assert process.returncode == 0
    assert files(tmp_path / "killed") == files(tmp_path / "whole")


def test_ctrl_c_leaves_no_process_and_no_temporary_file(tmp_path: Path) -> None:
    code = """
        import signal
        import sys
        import millstream as ms
        # What a shell starts in the background ignores SIGINT.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        def fn(i):
            if i > 5:
                print("begun\\n", end="", flush=True)  # one write: whole lines
                signal.pause()
            return i
        ms.optimize(fn, range(50), sys.argv[1], num_workers=2)
    """
    process = start(code, tmp_path / "d")
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(2)] == ["begun\n"] * 2
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate()  # ends when no process holds the pipe
    assert "KeyboardInterrupt" in err
    assert not (tmp_path / "d/.job/temporary").exists()
