"""Tasks are done by worker processes, started by exec.

A worker never imports the user's `__main__`: functions travel by cloudpickle, so a script
without a main guard, a notebook's cell and a lambda all work. Each worker has one task to run
and at most one more waiting in its socket, so it never waits for the parent.
"""

from __future__ import annotations

import pickle
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import wait as wait_readable
from pathlib import Path
from typing import Any, Generic, TypeVar

import cloudpickle

from millstream import errors
from millstream.errors import (
    MillstreamError,
    NotPicklable,
    UnsupportedError,
    UsageError,
    WorkerDied,
)
from millstream.execution.child import LENGTH, receive_frame, send_frame
from millstream.execution.protocol import Outcome, Session

R = TypeVar("R")

# One running and one waiting: the second is there when the first ends.
TASKS_A_WORKER = 2


@dataclass(frozen=True, slots=True)
class Processes:
    """The executor of so many worker processes on this machine."""

    workers: int

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise UsageError(f"{self.workers} worker processes; at least 1")

    @contextmanager
    def open(self, work: Callable[[Any], R]) -> Iterator[Session[R]]:
        """A session of worker processes; raises NotPicklable if `work` cannot travel."""
        if sys.platform == "win32":
            raise UnsupportedError("worker processes need Linux or macOS; use num_workers=0")
        pool: _Pool[R] = _Pool(_pickled(work, "the function"), self.workers)
        try:
            yield pool
        except BaseException:
            pool.kill()
            raise
        finally:
            pool.close()


def _pickled(value: Any, name: str) -> bytes:
    try:
        content: bytes = cloudpickle.dumps(value, protocol=5)
    except Exception as error:  # whatever a user's __reduce__ raises
        raise NotPicklable(
            f"{name} cannot be sent to a worker process: {type(error).__name__}: {error}. Open "
            "files, locks and connections inside the function, or use num_workers=0"
        ) from error
    return content


class _Worker:
    """One process, its socket, and the tags of the tasks it was given, in order."""

    def __init__(self, work: bytes) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            # The package may not be installed: the worker finds it where this process did.
            place = str(Path(errors.__file__).parents[1])
            code = (
                f"import sys; sys.path.insert(0, {place!r}); "
                f"from millstream.execution.child import main; main({theirs.fileno()})"
            )
            self.process = subprocess.Popen(
                [sys.executable, "-c", code], pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL
            )
        self.socket = ours
        self.tags: deque[int] = deque()
        with suppress(OSError):  # it died at once: its first answer will be the end of the stream
            send_frame(ours, pickle.dumps((str(Path.cwd()), sys.path)))
            send_frame(ours, work)

    def fileno(self) -> int:
        return self.socket.fileno()

    def give(self, tag: int, content: bytes) -> None:
        self.tags.append(tag)
        with suppress(OSError):
            send_frame(self.socket, LENGTH.pack(tag) + content)

    def end(self, *, kill: bool) -> None:
        if kill:
            self.process.kill()
        self.socket.close()
        self.process.wait()


class _Pool(Generic[R]):
    def __init__(self, work: bytes, workers: int) -> None:
        self._work = work
        self._workers: list[_Worker] = []
        self._contents: dict[int, bytes] = {}
        self._ended: deque[Outcome[R]] = deque()
        try:
            for _ in range(workers):
                self._workers.append(_Worker(work))
        except BaseException:
            self.kill()
            raise

    @property
    def free(self) -> int:
        return TASKS_A_WORKER * len(self._workers) - len(self._contents)

    def submit(self, tag: int, task: Any) -> None:
        self._contents[tag] = _pickled(task, "an input")
        self._give(tag)

    def _give(self, tag: int) -> None:
        worker = min(self._workers, key=lambda worker: len(worker.tags))
        worker.give(tag, self._contents[tag])

    def wait(self) -> Outcome[R]:
        if not self._contents and not self._ended:
            raise RuntimeError("no task is under way")
        while not self._ended:
            for worker in wait_readable(self._workers):  # type: ignore[arg-type]
                self._hear(worker)  # type: ignore[arg-type]
        return self._ended.popleft()

    def _hear(self, worker: _Worker) -> None:
        frame = receive_frame(worker.socket)
        if frame is None:
            self._bury(worker)
            return
        tag, value, told = pickle.loads(frame)
        worker.tags.remove(tag)
        del self._contents[tag]
        self._ended.append(Outcome(tag=tag, value=value, error=told and _error(*told)))

    def _bury(self, worker: _Worker) -> None:
        """A worker is gone: the task it ran has failed, the next one goes to another worker."""
        worker.end(kill=True)
        self._workers.remove(worker)
        self._workers.append(_Worker(self._work))
        if worker.tags:
            running = worker.tags.popleft()
            del self._contents[running]
            died = WorkerDied(_death(worker.process.returncode))
            self._ended.append(Outcome(tag=running, error=died))
        for tag in worker.tags:
            self._give(tag)

    def kill(self) -> None:
        """Ends all workers at once, whatever they do."""
        for worker in self._workers:
            worker.process.kill()

    def close(self) -> None:
        """Ends all workers; an idle one sees the end of its socket."""
        for worker in self._workers:
            worker.end(kill=bool(worker.tags))
        self._workers.clear()


def _error(name: str, message: str) -> MillstreamError:
    kind = getattr(errors, name, errors.FunctionError)
    error: MillstreamError = kind(message)
    return error


def _death(code: int) -> str:
    if code >= 0:
        return f"a worker process ended by itself, with exit code {code}, in the middle of a task"
    name = signal.Signals(-code).name if -code in list(signal.Signals) else f"signal {-code}"
    hint = "; was the machine out of memory?" if -code == signal.SIGKILL else ""
    return f"a worker process was ended by {name} in the middle of a task{hint}"
