"""The local files of a job while it runs: the segments, and what has no name yet.

    lock                 held with flock by the one process that uses the folder
    owner                of a job in a bucket: the id of its claim, see claim.py
    segments/000012      the rows of task 12, until they are in chunks
    temporary/RUN/       files of one run that have no name yet

A file has its name only once it is whole.
"""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from contextlib import suppress
from pathlib import Path

from millstream.errors import StorageError, UnsupportedError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

# The folder of segments, see segments.py.
SEGMENTS = "segments"


class Scratch:
    """A folder that this process has locked; `lock_folder` makes one.

    shared: whether others like it may have it too.
    """

    def __init__(self, root: Path, lock: int, *, shared: bool = False) -> None:
        self.root, self._lock, self._shared = root, lock, shared
        self.segments = root / SEGMENTS
        # Of this run alone: a worker that outlives a killed run by a moment finds its folder gone.
        self.temporary = root / "temporary" / secrets.token_hex(4)

    def prepare(self) -> None:
        """Makes the folders of this run, and removes what a killed one left half-written."""
        self.clear_temporary()
        self.temporary.mkdir(parents=True, exist_ok=True)
        self.segments.mkdir(exist_ok=True)

    def clear_temporary(self) -> None:
        """Removes what is left half-written: by this run, or by a killed one.

        Others may be writing what else there is if the folder is shared.
        """
        folder = self.temporary if self._shared else self.root / "temporary"
        shutil.rmtree(folder, ignore_errors=True)

    def empty(self, first: str) -> None:
        """Removes all but lock and owner; `first` before the rest, which then counts no more."""
        (self.root / first).unlink(missing_ok=True)
        for entry in self.root.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry)
            elif entry.name not in {"lock", "owner"}:
                entry.unlink()

    def remove(self, first: str) -> None:
        """Removes the folder; the lock goes last, so nobody is at work in what is half gone."""
        self.empty(first)
        (self.root / "owner").unlink(missing_ok=True)
        (self.root / "lock").unlink()
        with suppress(OSError):  # another process may be about to begin
            self.root.rmdir()

    def close(self) -> None:
        """Gives the lock back."""
        os.close(self._lock)


def lock_folder(root: Path, *, shared: bool = False) -> Scratch | None:
    """Takes the lock of an existing folder; None if another process has it.

    shared: with others who take it so, but with nobody else.

    The kernel gives it back when its process dies. Raises UnsupportedError without POSIX locks.
    """
    if fcntl is None:
        raise UnsupportedError("writing datasets needs POSIX file locks: Linux or macOS")
    lock = os.open(root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(lock, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        # Whoever had it may have removed the folder since the file was opened.
        if os.path.samestat(os.fstat(lock), os.stat(root / "lock")):  # noqa: PTH116
            return Scratch(root, lock, shared=shared)
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        os.close(lock)
        raise
    os.close(lock)
    return None


def own_folder(root: Path) -> Path:
    """A local folder for this user alone, made if need be.

    Raises StorageError if it is not, FileNotFoundError if it is removed just now.
    """
    with suppress(FileExistsError):
        root.mkdir(mode=0o700)
    state = root.lstat()
    if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.getuid() or state.st_mode & 0o022:
        raise StorageError(
            f"{root} is not a folder of this user alone, and jobs work there; remove it, or set "
            "TMPDIR to another folder"
        )
    return root
