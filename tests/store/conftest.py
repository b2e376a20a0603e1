"""Stores on real servers, each on a prefix of the test's own, and what stands in front of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from servers.azure import Azurite
from servers.faultproxy import FaultProxy
from servers.gcs import GCS
from servers.http import HTTPServer
from servers.hub import Hub
from servers.seaweedfs import SeaweedFS
from stores import Quick, open_quick

from millstream.store import Store, open_store

HUB_TOKEN = "hf_a-token-of-the-hub"


@pytest.fixture
def s3_store(seaweedfs: SeaweedFS, prefix: str) -> Store:
    return open_store(f"s3://millstream/{prefix}/a folder", seaweedfs.options())


@pytest.fixture
def gcs_store(gcs: GCS, prefix: str) -> Store:
    return open_store(f"gs://millstream/{prefix}/a folder", gcs.options())


@pytest.fixture
def azure_store(azurite: Azurite, prefix: str) -> Store:
    return open_store(f"az://millstream/{prefix}/a folder", azurite.options())


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
def faulty(s3_proxy: FaultProxy, seaweedfs: SeaweedFS, prefix: str) -> Quick:
    """A store behind the fault proxy, which does not wait between attempts."""
    options = {**seaweedfs.options(endpoint=s3_proxy.url), "stall_seconds": 0.5}
    return open_quick(f"s3://millstream/{prefix}", options)
