"""The worker's side: read a task, run it, answer; die with the parent.

A reader thread takes messages off the socket at once, and a sender thread puts large answers
onto it, so neither the work nor the parent waits for the other side to read. Small answers are
in the socket before the next task begins: they outlive this process. The reader is also how the
end of the parent is noticed in the middle of a task.
"""

from __future__ import annotations

import io
import os
import pickle
import queue
import signal
import socket
import sys
import threading
from contextlib import suppress
from typing import Any

from millstream.errors import FunctionError, MillstreamError
from millstream.execution import wire
from millstream.execution.protocol import failure

Messages = queue.SimpleQueue[list[Any]]

# Fits into a socket's buffer, on every platform, beside another one.
SMALL = 4_096


def main(descriptor: int) -> None:
    """Serves the parent behind a socket until it says to stop or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent to decide
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])  # blocked until here
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
    work = _begin(tasks.get()[0], number)
    answers = _Answers(sock)
    while True:
        answers.put(_answer(*_run(work, tasks.get())))


def _begin(content: bytes, number: int) -> Any:
    """The function to call; if it cannot be had here, one that says so for every task."""
    try:
        begin = pickle.loads(content)
    except BaseException as error:
        text = f"the function cannot be loaded in a worker process: {failure(error)}"
    else:
        try:
            return begin(number)
        except BaseException as error:
            text = f"worker {number} cannot begin: {failure(error)}"

    def fail(task: object) -> None:
        raise FunctionError(text)

    return fail


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

    def put(self, answer: list[wire.Buffer]) -> None:
        if sum(map(len, answer)) <= SMALL:
            self._send(answer)
        else:
            self._large.put(answer)

    def _work(self) -> None:
        while True:
            self._send(self._large.get())

    def _send(self, answer: list[wire.Buffer]) -> None:
        # If the parent is gone nobody wants the answer, and the reader ends this process.
        with self._lock, suppress(OSError):
            wire.send(self._socket, answer)


def _run(work: Any, message: list[Any]) -> tuple[int, Any, MillstreamError | None]:
    tag = int.from_bytes(message[0], "little")
    try:
        return tag, work(pickle.loads(message[1])), None
    except MillstreamError as error:
        return tag, None, error
    except BaseException as error:  # SystemExit too: a task that ends the worker has failed
        return tag, None, failure(error)


def _answer(tag: int, value: Any, error: MillstreamError | None) -> list[wire.Buffer]:
    told = None if error is None else (type(error).__name__, str(error))
    try:
        return wire.dump((tag, value, told))
    except Exception as problem:
        told = ("FunctionError", f"a result cannot be pickled: {failure(problem)}")
        return wire.dump((tag, None, told))
