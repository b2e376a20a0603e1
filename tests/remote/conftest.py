"""A dataset on an S3 server, behind a proxy that counts and hurts; made once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uploaded
from servers.faultproxy import FaultProxy
from servers.seaweedfs import SeaweedFS

import millstream as ms

Open = Callable[..., ms.StreamingDataset]
URL = "s3://millstream/streamed"


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("data") / "d"
    uploaded.make(place)
    return place


@pytest.fixture(scope="session")
def on_s3(folder: Path, seaweedfs: SeaweedFS) -> str:
    uploaded.upload(folder, URL, seaweedfs.options())
    return URL


@pytest.fixture
def open_s3(on_s3: str, s3_proxy: FaultProxy, seaweedfs: SeaweedFS, tmp_path: Path) -> Open:
    """Opens the dataset through the proxy, with a cache of the test's own."""
    options = {**seaweedfs.options(endpoint=s3_proxy.url), **uploaded.QUICK}

    def open(storage_options: dict[str, Any] | None = None, **arguments: Any) -> Any:
        return ms.StreamingDataset(
            on_s3,
            storage_options={**options, **(storage_options or {})},
            **{"cache_dir": tmp_path / "cache", "shuffle": True, **arguments},
        )

    return open
