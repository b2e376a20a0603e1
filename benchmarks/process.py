"""A process of its own for each trial, watched from outside: how much memory, and for how long."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any

import psutil

HERE = Path(__file__).parent
ROOT = HERE.parent
LOOK_SECONDS = 0.25
SHARED = Path("/dev/shm")
NUMBERED = re.compile(r"\d{6}_[a-z_]+")


def run_trial(environment: str, order: Mapping[str, Any], log: Path, timeout: float) -> dict:
    """What `python -m trials` found, with peak_mb; under "failed" what went wrong instead.

    peak_mb: the most memory of the process and its descendants, each shared page counted once
    (PSS), as seen four times a second. log: where its errors go. All that the process started,
    its temporary files and the shared memory that it left, is gone afterwards.
    """
    python = ROOT / f".venv-bench{environment and '-'}{environment}" / "bin" / "python"
    if not python.exists():
        return {"failed": f"there is no {python.relative_to(ROOT)}: make bench sets it up"}
    command = [python, "-m", "trials", json.dumps(order)]
    log.parent.mkdir(parents=True, exist_ok=True)
    segments = _segments()
    with TemporaryFile() as told, TemporaryDirectory() as temporary, log.open("wb") as errors:
        process = subprocess.Popen(
            command, cwd=HERE, env=_environment(temporary), stdin=subprocess.DEVNULL, stdout=told,
            stderr=errors, start_new_session=True,
        )  # fmt: skip
        try:
            peak = _watch(process, timeout)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            for segment in _segments() - segments:
                segment.unlink(missing_ok=True)
        told.seek(0)
        lines = told.read().splitlines()
    if not lines:
        last = log.read_text(errors="replace").strip().splitlines()[-1:]
        return {"failed": f"ended without a result, or took over {timeout:.0f} s: {last}"}
    return {**json.loads(lines[-1]), "peak_mb": peak / 1e6}


def _environment(temporary: str) -> dict[str, str]:
    paths = os.pathsep.join(map(str, (HERE, ROOT / "src")))
    python = {"PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"}
    return {**os.environ, **python, "TMPDIR": temporary}


def _segments() -> set[Path]:
    """Shared memory with names such as MosaicML Streaming's, which outlives a killed job."""
    return {path for path in SHARED.glob("*") if NUMBERED.fullmatch(path.name)}


def _watch(process: subprocess.Popen[bytes], timeout: float) -> int:
    """Waits for the end, or for the time; returns the most bytes."""
    peak, deadline = 0, time.monotonic() + timeout
    while time.monotonic() < deadline:
        try:
            process.wait(LOOK_SECONDS)
            break
        except subprocess.TimeoutExpired:
            peak = max(peak, _memory(process.pid))
    return peak


def _memory(pid: int) -> int:
    total = 0
    with suppress(psutil.Error):
        root = psutil.Process(pid)
        for process in [root, *root.children(recursive=True)]:
            with suppress(psutil.Error):
                memory = process.memory_full_info()
                total += getattr(memory, "pss", memory.uss)
    return total
