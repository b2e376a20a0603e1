"""Child processes that end with their starter, however it ends, on Linux and macOS alike.

A child reads its standard input, and only its starter holds the other end of that pipe: the end
of the input means that the starter has closed it or has died, by SIGKILL too. Servers written in
Python do that themselves (control.py); other programs have a keeper that does it for them
(keeper.py). A plain fork of the starter holds the pipe as well, so it must not outlive the starter.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import TracebackType
from typing import Any, Self

HOST = "127.0.0.1"
PACKAGES = Path(__file__).parents[1]
READY_SECONDS = 60
TRIES = 3


class ServerFailed(Exception):
    """A server did not start, or ended, or refused a call; the message has what it printed."""


class Child:
    """A process of `python -m servers.MODULE`: closed by close(), and gone when this process is.

    It has a session of its own, so Ctrl-C reaches only the starter, which then closes it.
    folder: where it runs; errors: the file for what it prints, if not the starter's stderr.
    """

    def __init__(
        self,
        module: str,
        *arguments: object,
        folder: Path | None = None,
        errors: Path | None = None,
    ) -> None:
        with ExitStack() as stack:
            stderr = stack.enter_context(errors.open("ab")) if errors else None
            self._process = subprocess.Popen(
                # -P: our http.py must not hide the standard library's.
                [sys.executable, "-P", "-m", f"servers.{module}", *map(str, arguments)],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(PACKAGES)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                start_new_session=True,
            )
        assert self._process.stdin and self._process.stdout  # pipes, as asked
        self._questions, self._answers = self._process.stdin, self._process.stdout
        self._module = module
        self._lock = threading.Lock()

    @property
    def pid(self) -> int:
        return self._process.pid

    def ended_within(self, seconds: float) -> bool:
        """Whether the process ends in that time; waits no longer than it lives."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._answers, selectors.EVENT_READ)
            return bool(selector.select(seconds))

    def ask(self, call: str, **arguments: object) -> Any:
        """What the call returns over there; raises ServerFailed with what it raised."""
        question = json.dumps({"call": call, "arguments": arguments}).encode() + b"\n"
        with self._lock:
            with suppress(BrokenPipeError):  # it ended, which the end of its answers says too
                self._questions.write(question)
                self._questions.flush()
            line = self._answers.readline()
        if not line:
            raise ServerFailed(f"servers.{self._module} ended: exit code {self._process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise ServerFailed(f"servers.{self._module} {call}: {answer['error']}")
        return answer["value"]

    def close(self) -> None:
        """Ends the process, and what it keeps, and waits for that."""
        for pipe in (self._questions, self._answers):
            with suppress(BrokenPipeError):  # what it did not read before it ended
                pipe.close()
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A server that is not ours. leaves: files outside its folder, removed when it has ended."""

    command: Sequence[object]
    environment: Mapping[str, str] = field(default_factory=dict)
    leaves: Sequence[str] = ()

    def as_json(self) -> str:
        return json.dumps(
            {
                "command": [str(part) for part in self.command],
                "environment": dict(self.environment),
                "leaves": list(self.leaves),
            }
        )


def start_program(
    program: Callable[[Sequence[int]], Program],
    *,
    ports: int,
    ready: Callable[[Sequence[int]], bool],
    folder: Path,
) -> tuple[Child, list[int]]:
    """Runs the program for that many free ports, and returns when ready(ports) holds.

    Tried again with other ports when the program ends at once: another process may have taken
    one. What it prints is in folder/log. Raises ServerFailed.
    """
    log = folder / "log"
    for _ in range(TRIES):
        chosen = free_ports(ports)
        child = Child("keeper", program(chosen).as_json(), folder=folder, errors=log)
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            if ready(chosen):
                return child, chosen
            if child.ended_within(0.02):
                break
        child.close()
    name = Path(str(program([0] * ports).command[0])).name
    raise ServerFailed(f"{name} does not get ready:\n{_end_of(log)}")


def free_ports(count: int) -> list[int]:
    """Distinct ports of 127.0.0.1 that nobody listens on now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for sock in sockets:
            sock.bind((HOST, 0))
        return [sock.getsockname()[1] for sock in sockets]


def answers(port: int, path: str, *statuses: int) -> bool:
    """Whether GET of the path has one of these statuses, now."""
    try:
        return call(port, "GET", path)[0] in statuses
    except (OSError, HTTPException):  # nobody listens yet, or it is only half there
        return False


def call(
    port: int,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> tuple[int, bytes]:
    """One request on a connection of its own: (status, body)."""
    connection = HTTPConnection(HOST, port, timeout=READY_SECONDS)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def _end_of(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-20:])
