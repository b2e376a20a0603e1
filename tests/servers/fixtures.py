"""The object stores as pytest fixtures: one of each a test process, started when first asked for.

A worker of xdist has its own: nobody then has to know who ends them, and a test that stops or
floods one disturbs no other worker.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from buckets import Bucket

from servers.azure import Azurite
from servers.faultproxy import FaultProxy
from servers.gcs import GCS
from servers.http import HTTPServer
from servers.hub import Hub
from servers.seaweedfs import SeaweedFS

HUB_TOKEN = "hf_a-token-of-the-hub"


@pytest.fixture(scope="session")
def seaweedfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    """S3; it has the bucket `millstream`."""
    with _folder(tmp_path_factory) as folder, SeaweedFS(folder) as server:
        yield server


@pytest.fixture(scope="session")
def gcs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GCS]:
    """Google Cloud Storage; it has the bucket `millstream`."""
    with _folder(tmp_path_factory) as folder, GCS(folder) as server:
        yield server


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    """Azure blobs; it has the container `millstream`."""
    with _folder(tmp_path_factory) as folder, Azurite(folder) as server:
        yield server


@pytest.fixture(scope="session")
def http_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("http")


@pytest.fixture(scope="session")
def http_server(http_root: Path) -> Iterator[HTTPServer]:
    """Serves the files below http_root."""
    with HTTPServer(http_root) as server:
        yield server


@pytest.fixture(scope="session")
def hub_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hub")


@pytest.fixture(scope="session")
def hub(hub_root: Path) -> Iterator[Hub]:
    """Serves the repositories below hub_root to who has HUB_TOKEN."""
    with Hub(hub_root, token=HUB_TOKEN) as server:
        yield server


@pytest.fixture(scope="session")
def _s3_proxy(seaweedfs: SeaweedFS) -> Iterator[FaultProxy]:
    with FaultProxy(seaweedfs.endpoint, seed=1) as proxy:
        yield proxy


@pytest.fixture
def s3_proxy(_s3_proxy: FaultProxy) -> Iterator[FaultProxy]:
    """Stands in front of the S3 server, and does nothing yet but count from 0."""
    _s3_proxy.reset()
    yield _s3_proxy
    _s3_proxy.up()
    _s3_proxy.do()
    _s3_proxy.release()


@pytest.fixture
def prefix(request: pytest.FixtureRequest) -> str:
    """A place of this test's own in any bucket, "NAME-UNIQUE"; nothing is there yet."""
    return f"{request.function.__name__}-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def bucket(seaweedfs: SeaweedFS, prefix: str) -> Bucket:
    """That place on the S3 server."""
    return Bucket(f"s3://millstream/{prefix}", seaweedfs.options())


@contextmanager
def _folder(factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Gone at the end: pytest keeps its temporary folders for three runs."""
    folder = factory.mktemp("server")
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
