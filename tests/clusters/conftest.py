"""A Ray cluster of two nodes with a worker each, and this process connected to it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ray_cluster import RayCluster, connection, living_actors, ray_cluster

import millstream as ms


@pytest.fixture(scope="module")
def nodes_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The temporary folder of all nodes and of scripts that tests start."""
    folder = tmp_path_factory.mktemp("nodes")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(folder))
        yield folder


@pytest.fixture(scope="module")
def cluster(nodes_folder: Path) -> Iterator[RayCluster]:
    """A test that kills a node adds another."""
    with ray_cluster(2) as made:
        yield made


@pytest.fixture(scope="module")
def connected(cluster: RayCluster) -> Iterator[Any]:
    """Ray, as a user has connected it: so not each job has to."""
    with connection(cluster) as ray:
        yield ray


@pytest.fixture
def far(
    connected: Any, nodes_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ms.RayExecutor]:
    """The workers of the cluster. At the end they are gone, and nothing of jobs is on a disk."""
    monkeypatch.setattr(tempfile, "tempdir", str(nodes_folder))
    yield ms.RayExecutor(wait_seconds=60)
    assert living_actors() == []
    assert list(nodes_folder.iterdir()) == []
