"""Starts the ranks of a run as processes of their own, as a launcher would, and waits for all."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SOURCE = HERE.parents[1] / "src"
# Far more than any needs: who is still there then waits for one that will never come.
SECONDS = 150


def gang(
    program: str, ranks: int, folder: Path, *, dies: int | None = None, **arguments: Any
) -> list[Any]:
    """What a function of `programs.py`, or module:function, returns on each rank, as JSON has it.

    Each gets its arguments, in a process that torchrun seems to have started; they meet in a file
    below `folder`. Fails with what a rank wrote to stderr if one fails, and leaves none behind.
    dies: a rank that must be killed by SIGKILL; the others are then killed too, as a launcher does.
    """
    folder.mkdir(exist_ok=True)
    given = json.dumps({"program": program, "arguments": arguments, "meet": str(folder / "meet")})
    members: list[subprocess.Popen[str]] = []
    try:
        members += [_start(rank, ranks, given) for rank in range(ranks)]
        if dies is not None:
            _, errors = members[dies].communicate(timeout=SECONDS)
            assert members[dies].returncode == -signal.SIGKILL, errors
            return []
        outputs = [member.communicate(timeout=SECONDS) for member in members]
    finally:
        for member in members:
            if member.poll() is None:
                os.killpg(member.pid, signal.SIGKILL)
                member.communicate()
    for rank, (member, (_, errors)) in enumerate(zip(members, outputs, strict=True)):
        assert member.returncode == 0, f"rank {rank} of {ranks}:\n{errors}"
    return [json.loads(written.splitlines()[-1]) for written, _ in outputs]


def _start(rank: int, ranks: int, given: str) -> subprocess.Popen[str]:
    launcher = {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(ranks),
        "LOCAL_WORLD_SIZE": str(ranks), "TORCHELASTIC_RUN_ID": "test",
    }  # fmt: skip
    path = os.pathsep.join(map(str, (SOURCE, HERE, HERE.parent)))
    return subprocess.Popen(
        [sys.executable, str(HERE / "programs.py"), given],
        env={**os.environ, **launcher, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
