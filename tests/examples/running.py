"""Examples as a user runs them: as scripts, in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from scripts import SOURCE

EXAMPLES = Path(__file__).parents[2] / "examples"
# What make demo runs, and its parts: not to be read in a minute.
DEMO = ("contact_sheet", "demo", "object_storage", "photos")


def run(name: str, *arguments: object, cwd: Path | None = None) -> str:
    """What an example prints."""
    done = tried(name, *arguments, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout


def tried(
    name: str,
    *arguments: object,
    cwd: Path | None = None,
    before: Path | None = None,
    alone: bool = False,
) -> subprocess.CompletedProcess[str]:
    """An example that may fail. before: where modules are looked for first. alone: in a process
    group of its own."""
    places = [SOURCE] if before is None else [str(before), SOURCE]
    return subprocess.run(
        [sys.executable, str(EXAMPLES / name), *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(places)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        start_new_session=alone,
    )
