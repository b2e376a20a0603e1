"""The worker's side: read a task, run it, answer; die with the parent.

Messages are frames of our own between our own processes: an 8-byte length and a pickle. A
reader thread takes them off the socket at once, so neither side ever waits for the other to
read; it is also how the end of the parent is noticed in the middle of a task.
"""

from __future__ import annotations

import os
import pickle
import queue
import signal
import socket
import struct
import sys
import threading
from typing import Any

from millstream.errors import FunctionError, MillstreamError
from millstream.execution.protocol import failure

LENGTH = struct.Struct("<Q")


def send_frame(sock: socket.socket, content: bytes) -> None:
    """Sends one frame; blocks until it is taken."""
    sock.sendall(LENGTH.pack(len(content)))
    sock.sendall(content)


def receive_frame(sock: socket.socket) -> bytes | None:
    """The next frame; None at the end of the stream."""
    head = _receive(sock, LENGTH.size)
    return None if head is None else _receive(sock, LENGTH.unpack(head)[0])


def _receive(sock: socket.socket, length: int) -> bytes | None:
    content = bytearray(length)
    view, at = memoryview(content), 0
    while at < length:
        try:
            count = sock.recv_into(view[at:])
        except ConnectionError:
            return None
        if not count:
            return None
        at += count
    return bytes(content)


def main(descriptor: int) -> None:
    """Serves the parent behind a socket until it says to stop or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent to decide
    sock = socket.socket(fileno=descriptor)
    frames: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(sock, frames), daemon=True).start()
    folder, path = pickle.loads(frames.get())
    sys.path[:] = path
    os.chdir(folder)
    work = _load(frames.get())
    while content := frames.get():
        answer = _answer(*_run(work, content))
        try:
            send_frame(sock, answer)
        except OSError:  # the parent is gone, and nobody wants the answer
            return


def _load(content: bytes) -> Any:
    """The function to call; if it cannot be loaded here, one that says so for every task."""
    try:
        return pickle.loads(content)
    except BaseException as error:
        text = f"the function cannot be loaded in a worker process: {failure(error)}"

    def fail(task: object) -> None:
        raise FunctionError(text)

    return fail


def _read(sock: socket.socket, frames: queue.SimpleQueue[bytes]) -> None:
    while (frame := receive_frame(sock)) is not None:
        frames.put(frame)
    # The parent is gone, whatever the task is doing: nobody wants its result.
    os._exit(1)


def _run(work: Any, content: bytes) -> tuple[int, Any, MillstreamError | None]:
    tag = LENGTH.unpack(content[: LENGTH.size])[0]
    try:
        return tag, work(pickle.loads(memoryview(content)[LENGTH.size :])), None
    except MillstreamError as error:
        return tag, None, error
    except BaseException as error:  # SystemExit too: a task that ends the worker has failed
        return tag, None, failure(error)


def _answer(tag: int, value: Any, error: MillstreamError | None) -> bytes:
    told = None if error is None else (type(error).__name__, str(error))
    try:
        return pickle.dumps((tag, value, told), protocol=5)
    except Exception as problem:
        told = ("FunctionError", f"a result cannot be pickled: {failure(problem)}")
        return pickle.dumps((tag, None, told), protocol=5)
