"""Buckets of each service for jobs, and a proxy in front of one of them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from buckets import Bucket
from servers.azure import Azurite
from servers.faultproxy import FaultProxy
from servers.gcs import GCS
from servers.seaweedfs import SeaweedFS


@pytest.fixture(scope="session")
def _proxy(seaweedfs: SeaweedFS) -> Iterator[FaultProxy]:
    with FaultProxy(seaweedfs.endpoint, seed=1) as proxy:
        yield proxy


@pytest.fixture
def proxy(_proxy: FaultProxy) -> Iterator[FaultProxy]:
    """Stands in front of the S3 server, and does nothing yet but count from 0."""
    _proxy.reset()
    yield _proxy
    _proxy.do()
    _proxy.release()


@pytest.fixture
def proxied(proxy: FaultProxy, bucket: Bucket) -> Bucket:
    """The bucket through the proxy."""
    return Bucket(bucket.url, {**bucket.options, "endpoint_url": proxy.url})


@pytest.fixture
def of_service(
    seaweedfs: SeaweedFS, gcs: GCS, azurite: Azurite, prefix: str
) -> Callable[[str], Bucket]:
    """The same for each service."""
    options = {"s3": seaweedfs.options(), "gs": gcs.options(), "az": azurite.options()}
    return lambda scheme: Bucket(f"{scheme}://millstream/{prefix}", options[scheme])


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The temporary folder of this test, where jobs in buckets work."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder
