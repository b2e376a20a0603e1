"""What a worker process is born into: the folder, the terminal, programs that it starts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from scripts import SOURCE

from millstream.errors import WorkerDied
from millstream.execution.crew import Crew
from millstream.execution.pickling import pickled
from millstream.execution.worker import Worker

pytestmark = pytest.mark.timeout(60)


def test_modules_in_the_current_folder_are_not_mistaken_for_others(tmp_path: Path) -> None:
    elsewhere = tmp_path / "script.py"
    elsewhere.write_text(
        "from millstream.execution.crew import Crew\n"
        "crew = Crew(lambda number: lambda x, empty: x + 1, workers=1, ahead=1)\n"
        "print(list(crew.results([1, 2])))\n"
        "crew.close()\n"
    )
    here = tmp_path / "here"
    here.mkdir()
    for name in ("queue", "socket", "numpy"):
        (here / f"{name}.py").write_text("raise RuntimeError('not the module that was meant')")
    done = subprocess.run(
        [sys.executable, elsewhere],
        cwd=here, env={**os.environ, "PYTHONPATH": SOURCE}, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "[2, 3]\n"), done.stderr


def test_a_current_folder_that_is_gone_does_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    hands: Crew[Any] = Crew(lambda number: lambda x, empty: x + 1, workers=1, ahead=1)
    assert list(hands.results([1, 2])) == [2, 3]
    hands.close()


def test_a_death_is_seen_even_if_the_worker_has_started_a_program(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)

    def work(task: object) -> None:
        # As os.system does it: no hook of Python's runs between fork and exec.
        os.posix_spawn("/bin/sh", ["sh", "-c", f"read line < {gate}"], os.environ)
        os.kill(os.getpid(), signal.SIGKILL)

    hands: Crew[Any] = Crew(lambda number: lambda x, empty: work(x), workers=1, ahead=1)
    with pytest.raises(WorkerDied):
        next(hands.results([None], timeout=20))
    gate.write_text("end\n")


def test_a_worker_says_where_it_is_when_it_is_asked_and_goes_on(
    capfd: pytest.CaptureFixture[str],
) -> None:
    def hangs_here(task: int, empty: object) -> int:
        os.kill(os.getpid(), signal.SIGUSR1)  # as `kill -USR1` does from a shell
        return task

    hands: Crew[Any] = Crew(lambda number: hangs_here, workers=1, ahead=1)
    assert list(hands.results([7], timeout=20)) == [7]
    hands.close()
    told = capfd.readouterr().err
    assert "in hangs_here" in told and "test_surroundings.py" in told


def test_ctrl_c_is_not_heard_by_a_worker_that_is_just_starting() -> None:
    def begin(number: int) -> Any:
        return lambda task: signal.pthread_sigmask(signal.SIG_BLOCK, [])

    worker = Worker(pickled(begin, "begin"), 0)
    os.kill(worker.process.pid, signal.SIGINT)
    worker.give(0, pickled(None, "a task"))
    outcome = worker.hear()
    worker.end(kill=True)
    assert outcome is not None
    assert outcome.result() == set()  # what the worker starts hears as usual
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()
