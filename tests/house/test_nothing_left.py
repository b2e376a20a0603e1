"""The check in tests/conftest.py can fail: for a child, an orphan and a file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"
WAITS = "import signal; signal.pause()"
STARTS_A_CHILD = f"""
import subprocess, sys
def test_it():
    subprocess.Popen([sys.executable, "-c", {WAITS!r}])
"""
LEAVES_AN_ORPHAN = f"""
import subprocess, sys
STARTER = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', {WAITS!r}])"
def test_it():
    subprocess.run([sys.executable, "-c", STARTER], check=True)
"""
LEAVES_A_FILE = """
import tempfile
from pathlib import Path
def test_it():
    Path(tempfile.gettempdir(), "millstream-left").touch()
"""
WAITS_FOR_ITS_CHILD = """
import subprocess, sys
def test_it():
    subprocess.run([sys.executable, "-c", "pass"], check=True)
"""


def run(folder: Path, source: str, *options: str) -> subprocess.CompletedProcess[str]:
    """pytest on one test file, with our conftest and a temporary folder of its own."""
    quick = CONFTEST.read_text(encoding="utf-8").replace("GRACE_SECONDS = 10", "GRACE_SECONDS = 1")
    (folder / "conftest.py").write_text(quick, encoding="utf-8")
    (folder / "test_it.py").write_text(source, encoding="utf-8")
    temporary = folder / "tmp"
    temporary.mkdir()
    start = f"import os, sys, pytest; os.environ['TMPDIR'] = {str(temporary)!r}; "
    command = [sys.executable, "-c", start + "sys.exit(pytest.main(sys.argv[1:]))", *options]
    command += ["-q", "-p", "no:cacheprovider", "-c", str(folder / "none.ini"), str(folder)]
    (folder / "none.ini").write_text("[pytest]\n", encoding="utf-8")
    return subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": str(CONFTEST.parent)},  # for the fixtures it names
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )


@pytest.mark.parametrize("options", [(), ("-n", "1")], ids=["alone", "xdist"])
@pytest.mark.parametrize("source", [STARTS_A_CHILD, LEAVES_AN_ORPHAN], ids=["child", "orphan"])
def test_a_process_left_behind_fails_the_run(
    tmp_path: Path, source: str, options: tuple[str, ...]
) -> None:
    done = run(tmp_path, source, *options)
    assert done.returncode == 1, done.stdout
    assert "tests left processes behind" in done.stdout
    assert "signal.pause" in done.stdout


@pytest.mark.parametrize("options", [(), ("-n", "1")], ids=["alone", "xdist"])
def test_a_file_left_behind_fails_the_run(tmp_path: Path, options: tuple[str, ...]) -> None:
    done = run(tmp_path, LEAVES_A_FILE, *options)
    assert done.returncode == 1, done.stdout
    assert "millstream-left behind" in done.stdout


def test_a_test_that_cleans_up_passes(tmp_path: Path) -> None:
    done = run(tmp_path, WAITS_FOR_ITS_CHILD)
    assert done.returncode == 0, done.stdout
