"""The worker's side: read a task, run it, answer; die with the parent.

A reader thread takes messages off the socket at once, and a sender thread puts large answers
onto it, so neither the work nor the parent waits for the other side to read. Small answers are
in the socket before the next task begins: they outlive this process. The reader is also how the
end of the parent is noticed in the middle of a task.
"""

from __future__ import annotations

import faulthandler
import io
import os
import queue
import signal
import socket
import struct
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from millstream.execution import wire
from millstream.execution.answers import Told, answer, begun, unsendable

if TYPE_CHECKING:
    from millstream.execution.slots import Arena

Messages = queue.SimpleQueue[list[wire.Buffer]]

# Fits into a socket's buffer, on every platform, beside another one.
SMALL = 4_096


def main(descriptor: int) -> None:
    """Serves the parent behind a socket until it says to stop or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent to decide
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])  # blocked until here
    faulthandler.register(signal.SIGUSR1, file=2)  # where it hangs, for who asks with `kill`
    for stream in (sys.stdout, sys.stderr):  # this process never ends by itself: write lines out
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True)
    sock = socket.socket(fileno=descriptor)
    # Whatever the work forks or starts must not hold the socket open: its end says that this
    # process died.
    sock.set_inheritable(False)
    os.register_at_fork(after_in_child=sock.close)
    tasks: Messages = queue.SimpleQueue()
    threading.Thread(target=_read, args=(sock, tasks), daemon=True).start()
    path, number = wire.load(tasks.get())
    sys.path[:] = path
    work = begun(tasks.get()[0], number)
    answers = _Answers(sock)
    arena: Arena | None = None
    while True:
        head, task = tasks.get()
        tag, slot = wire.ASK.unpack(head)
        if slot == wire.NO_SLOT:
            answers.put(_loose(tag, *answer(work, task)))
        else:
            arena = arena or _arena()
            answers.put(*_filled(arena, tag, slot, *answer(_into(arena, slot, work), task)))


def _arena() -> Arena:
    # Not at the top: workers without slots need no numpy.
    from millstream.execution.slots import Arena

    return Arena()


def _read(sock: socket.socket, tasks: Messages) -> None:
    while (message := wire.receive(sock)) is not None:
        tasks.put(message)
    # The parent is gone, whatever the task is doing: nobody wants its result.
    os._exit(1)


class _Answers:
    """Sends answers: small ones at once, others from a thread."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket, self._lock = sock, threading.Lock()
        self._large: Messages = queue.SimpleQueue()
        threading.Thread(target=self._work, daemon=True).start()

    def put(self, message: list[wire.Buffer], descriptor: int | None = None) -> None:
        """Sends an answer, and the descriptor of memory, which is closed here."""
        if descriptor is not None or sum(map(len, message)) <= SMALL:
            self._send(message, descriptor)
        else:
            self._large.put(message)

    def _work(self) -> None:
        while True:
            self._send(self._large.get())

    def _send(self, message: list[wire.Buffer], descriptor: int | None = None) -> None:
        # If the parent is gone nobody wants the answer, and the reader ends this process.
        with self._lock, suppress(OSError):
            wire.send(self._socket, message, descriptor)
        if descriptor is not None:
            os.close(descriptor)


def _into(arena: Arena, slot: int, work: Any) -> Any:
    """The work on a task, whose result goes to a slot."""

    def run(task: Any) -> Any:
        arena.begin(slot)
        return work(task, arena.empty)

    return run


def _loose(tag: int, value: Any, told: Told) -> list[wire.Buffer]:
    """An answer whose buffers follow it."""
    try:
        pieces = wire.dump((value, told))
    except Exception as problem:
        pieces = wire.dump(unsendable(problem))
    return [wire.ASK.pack(tag, wire.NO_SLOT), *pieces]


def _filled(
    arena: Arena, tag: int, slot: int, value: Any, told: Told
) -> tuple[list[wire.Buffer], int | None]:
    """An answer that says what lies where in the slot, and the slot's memory if that is new."""
    try:
        filled = arena.dump((value, told))
    except Exception as problem:
        filled = arena.dump(unsendable(problem))
    spans = [number for span in filled.spans for number in span]
    head = struct.pack(f"<{2 + len(spans)}q", tag, slot, *spans)
    return [head, filled.stream], filled.descriptor
