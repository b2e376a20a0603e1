"""A worker process, started by exec, and what the parent says to it and hears from it.

It never imports the user's `__main__`: functions travel by cloudpickle, so a script without a
main guard, a notebook's cell and a lambda all work.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import struct
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from millstream import errors
from millstream.errors import UnsupportedError
from millstream.execution import wire
from millstream.execution.answers import error_of
from millstream.execution.protocol import Outcome

if TYPE_CHECKING:
    from millstream.execution.ring import Ring


class Worker:
    """One process, its socket, and the tags of the tasks it was given, in order.

    begin: a pickled function that the process calls once, with its number, for the function
    that it then calls on each task. ring: the slots by which its answers come, if they do; the
    function then gets, beside the task, what makes arrays in the slot.
    """

    def __init__(self, begin: bytes, number: int, ring: Ring | None = None) -> None:
        if sys.platform == "win32":
            raise UnsupportedError("worker processes need Linux or macOS; use num_workers=0")
        ours, theirs = socket.socketpair()
        with theirs:
            # The package may not be installed: the worker finds it where this process did.
            place = str(Path(errors.__file__).parents[1])
            code = (
                f"import sys; sys.path.insert(0, {place!r}); "
                f"from millstream.execution.child import main; main({theirs.fileno()})"
            )
            # -P: a queue.py in the current folder is not the one that the worker needs.
            command = [sys.executable, "-P", "-c", code]
            with _interrupts_wait():
                self.process = subprocess.Popen(
                    command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL
                )
        self.socket = ours
        self._owner, self._ring = os.getpid(), ring
        self.tags: deque[int] = deque()
        with suppress(OSError):  # it died at once: its first answer will be the end of the stream
            wire.send(ours, wire.dump((sys.path, number)))
            wire.send(ours, [begin])

    def fileno(self) -> int:
        """Of the socket: readable when there is an answer, or when the process has ended."""
        return self.socket.fileno()

    def give(self, tag: int, task: bytes) -> None:
        """Sends a task, pickled."""
        self.tags.append(tag)
        slot = wire.NO_SLOT if self._ring is None else self._ring.take()
        with suppress(OSError):
            wire.send(self.socket, [wire.ASK.pack(tag, slot), task])

    def hear(self) -> Outcome[Any] | None:
        """The next answer, blocking; None if the process has ended."""
        descriptors: list[int] = []
        message = wire.receive(self.socket, descriptors)
        if message is None:
            return None
        head, stream, *buffers = message
        tag, slot, *numbers = struct.unpack(f"<{len(head) // 8}q", head)
        if self._ring is None:
            value, told = pickle.loads(stream, buffers=buffers)
        else:
            spans = list(zip(numbers[::2], numbers[1::2], strict=True))
            value, told = self._ring.load(slot, stream, spans, descriptors)
        self.tags.remove(tag)
        return Outcome(tag=tag, value=value, error=error_of(told))

    def end(self, *, kill: bool) -> None:
        """Ends the process; an idle one sees the end of its socket.

        In a fork of the process that started it nothing ends: only the socket's copy is closed.
        """
        owned = os.getpid() == self._owner
        if kill and owned:
            self.process.kill()
        self.socket.close()
        if owned:
            self.process.wait()

    def death(self) -> str:
        """How the process ended, in words."""
        code = self.process.returncode
        if code is None or code >= 0:
            return f"ended by itself, with exit code {code}"
        name = signal.Signals(-code).name if -code in list(signal.Signals) else f"signal {-code}"
        hint = " (was the machine out of memory?)" if -code == signal.SIGKILL else ""
        return f"was ended by {name}{hint}"


@contextmanager
def _interrupts_wait() -> Iterator[None]:
    """What is started in this block does not hear Ctrl-C before it asks to: it would die of it,
    with a traceback, in the middle of its imports."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
