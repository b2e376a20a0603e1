"""Stores on real servers, each on a prefix of the test's own, and what stands in front of them."""

from __future__ import annotations

import pytest
from servers.azure import Azurite
from servers.faultproxy import FaultProxy
from servers.gcs import GCS
from servers.seaweedfs import SeaweedFS
from stores import Quick, open_quick

from millstream.store import Store, open_store


@pytest.fixture
def s3_store(seaweedfs: SeaweedFS, prefix: str) -> Store:
    return open_store(f"s3://millstream/{prefix}/a folder", seaweedfs.options())


@pytest.fixture
def gcs_store(gcs: GCS, prefix: str) -> Store:
    return open_store(f"gs://millstream/{prefix}/a folder", gcs.options())


@pytest.fixture
def azure_store(azurite: Azurite, prefix: str) -> Store:
    return open_store(f"az://millstream/{prefix}/a folder", azurite.options())


@pytest.fixture
def faulty(s3_proxy: FaultProxy, seaweedfs: SeaweedFS, prefix: str) -> Quick:
    """A store behind the fault proxy, which does not wait between attempts."""
    options = {**seaweedfs.options(endpoint=s3_proxy.url), "stall_seconds": 0.5}
    return open_quick(f"s3://millstream/{prefix}", options)
