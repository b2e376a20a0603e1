"""For all tests: reproducible hypothesis runs, and a check that nothing is left behind.

Left behind means: a process that a test started and that still runs at the end, even one whose
parent has died, or a file named millstream* in the temporary folder or in shared memory.
"""

from __future__ import annotations

import gc
import os
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import settings

pytest_plugins = ["servers.fixtures"]

settings.register_profile("millstream", deadline=None, derandomize=True)
# To look for more: pytest --hypothesis-profile=explore
settings.register_profile("explore", deadline=None, max_examples=2000)
settings.load_profile("millstream")

# Whatever this process starts inherits the mark, so that its orphans are known too.
MARK = "TEST_PROCESS_OF"
HERE = uuid.uuid4().hex
os.environ[MARK] = HERE

# The standard library and torch keep these until the interpreter exits; then they end too.
OWN_HELPERS = (
    "multiprocessing.resource_tracker",
    "multiprocessing.forkserver",
    "torch_shm_manager",
)
GRACE_SECONDS = 10


@pytest.fixture(scope="session", autouse=True)
def no_process_left() -> Iterator[None]:
    """Fails the run if processes that tests started are still alive at its end."""
    yield
    gc.collect()  # what nobody can reach any more ends its processes
    _, alive = psutil.wait_procs(_started_here(), timeout=GRACE_SECONDS)
    left = [f"{process.pid}: {_command(process)}" for process in alive]
    for process in alive:
        process.kill()
    assert not left, f"tests left processes behind: {left}"


def _started_here() -> list[psutil.Process]:
    found = {process for process in psutil.process_iter() if _environment(process) == HERE}
    found |= set(psutil.Process().children(recursive=True))
    return [
        process
        for process in found
        if not any(helper in _command(process) for helper in OWN_HELPERS)
    ]


def _environment(process: psutil.Process) -> str | None:
    try:
        return process.environ().get(MARK)
    except (psutil.Error, OSError):  # another user's, or gone meanwhile
        return None


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:  # gone meanwhile, or a zombie
        return "?"


FILES_BEFORE = pytest.StashKey[set[Path]]()
FILES_LEFT = pytest.StashKey[list[Path]]()


def pytest_sessionstart(session: pytest.Session) -> None:
    session.config.stash[FILES_BEFORE] = _named_files()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(
        session.config, "workerinput"
    ):  # a worker of xdist: others still run, the parent looks
        return
    left = sorted(_named_files() - session.config.stash[FILES_BEFORE])
    session.config.stash[FILES_LEFT] = left
    if left and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for path in terminalreporter.config.stash.get(FILES_LEFT, []):
        terminalreporter.write_line(f"ERROR: tests left {path} behind", red=True)


def _named_files() -> set[Path]:
    folders = (Path(tempfile.gettempdir()), Path("/tmp"), Path("/dev/shm"))
    return {path for folder in folders for path in folder.glob("millstream*")}
