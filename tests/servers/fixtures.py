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

from servers.azure import Azurite
from servers.gcs import GCS
from servers.seaweedfs import SeaweedFS


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


@pytest.fixture
def prefix(request: pytest.FixtureRequest) -> str:
    """A place of this test's own in any bucket, "NAME-UNIQUE"; nothing is there yet."""
    return f"{request.function.__name__}-{uuid.uuid4().hex[:12]}"


@contextmanager
def _folder(factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Gone at the end: pytest keeps its temporary folders for three runs."""
    folder = factory.mktemp("server")
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
