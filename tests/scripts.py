"""Scripts that tests start as a user would: a fresh interpreter, no main guard."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

SOURCE = str(Path(__file__).parents[1] / "src")


def start(code: str, *arguments: object, stdin: int | None = None) -> subprocess.Popen[str]:
    """Runs code in a process group of its own, with pipes for what it prints."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": SOURCE},
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
