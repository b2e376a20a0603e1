"""Ends a forked child with SIGKILL right before its k-th change to the disk; what is left then."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CHANGES = {
    "os.chmod",
    "os.link",
    "os.mkdir",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.symlink",
    "os.truncate",
    "shutil.rmtree",
}
WRITING = os.O_WRONLY | os.O_RDWR


@dataclass(frozen=True)
class Change:
    """One operation on the disk. before: how long the file was, if this opens one to write."""

    event: str
    path: str
    before: int | None = None


@dataclass
class Life:
    """What a child did. Of a killed one the last change was not done."""

    killed: bool
    changes: list[Change] = field(default_factory=list)

    @property
    def done(self) -> list[Change]:
        return self.changes[:-1] if self.killed else self.changes


def kill_at(
    number: int | None,
    folder: Path,
    report: Callable[[Change], object] = lambda change: None,
    *,
    group: bool = False,
) -> None:
    """From here on this process reports its changes below a folder, and dies before one of them.

    number: of that change, from 1; None kills never. group: its process group dies with it. There
    is no way back: audit hooks stay.
    """
    count = 0

    def hook(event: str, args: tuple[Any, ...]) -> None:
        nonlocal count
        change = _change(event, args, str(folder))
        if change is not None:
            report(change)
            count += 1
            if count == number:
                (os.killpg if group else os.kill)(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def _change(event: str, args: tuple[Any, ...], folder: str) -> Change | None:
    if event == "open":
        path, _, flags = args
        if isinstance(path, int) or not flags & WRITING or not os.fspath(path).startswith(folder):
            return None
        before = Path(path).stat().st_size if flags & os.O_APPEND and Path(path).exists() else 0
        return Change(event, os.fspath(path), before)
    if event not in CHANGES:
        return None
    names = [os.fspath(name) for name in args if isinstance(name, str | os.PathLike)]
    # A relative name belongs to a folder that shutil.rmtree holds open.
    if not names[-1].startswith(folder) and Path(names[-1]).is_absolute():
        return None
    return Change(event, names[-1])


def live(
    work: Callable[[], object], folder: Path, number: int | None = None, *, group: bool = False
) -> Life:
    """Calls `work` in a forked child, which is killed before its change of this number.

    Returns when the child, and all that it started, are gone. What `work` prints must be nothing.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        code = 1
        try:
            os.setpgid(0, 0)
            os.close(reader)
            os.dup2(writer, 1)  # which the child's own children inherit
            os.close(writer)
            kill_at(number, folder, _to_stdout, group=group)
            work()
            code = 0
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader, "rb") as lines:  # ends when no process holds the other end
        changes = [Change(**json.loads(line)) for line in lines]
    _, status = os.waitpid(pid, 0)
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    assert killed or os.waitstatus_to_exitcode(status) == 0
    return Life(killed, changes)


def _to_stdout(change: Change) -> None:
    os.write(1, json.dumps(vars(change)).encode() + b"\n")


def tear(life: Life, chance: random.Random) -> bool:
    """Cuts the file that was being written when a child was killed, as an earlier kill had done.

    False if none was: then a kill at any time since the last change leaves the same.
    """
    if len(life.done) == 0 or (last := life.done[-1]).before is None:
        return False
    path = Path(last.path)
    if path.stat().st_size == last.before:
        return False
    os.truncate(path, chance.randrange(last.before, path.stat().st_size))
    return True


def tree(folder: Path) -> dict[str, Any]:
    """All that lies in a folder; of the records of runs what the report says, but the seconds."""
    found: dict[str, Any] = {}
    for path in folder.rglob("*"):
        content = path.read_bytes() if path.is_file() else None
        if content is not None and path.parent.name == "runs":
            report = json.loads(content)["report"]
            found[path.name] = {key: report[key] for key in ("samples", "chunks", "skipped")}
        else:
            found[str(path.relative_to(folder))] = content
    return found
