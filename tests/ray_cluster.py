"""A Ray cluster of several nodes on this machine, which leaves nothing behind.

Its head has no CPUs, so that work is done by the other nodes, which can be killed and added.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"
STORE_BYTES = 200 << 20
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Ray listens on all interfaces for some of its services: they want to hear this.
    "RAY_AUTH_MODE": "token",
    # Or else Ray takes 127.0.0.1 for this machine's address in the network, where it hears nothing.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
}
# One for all clusters of this process: Ray reads it once.
TOKEN = uuid.uuid4().hex
# How soon the head notices that a node is gone: within two seconds rather than within a minute.
NOTICES = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 1000,
    "health_check_failure_threshold": 3,
}


class RayCluster:
    """Nodes of so many CPUs each. Drivers find the cluster at `address`, or by themselves."""

    def __init__(self, nodes: int, cpus: int) -> None:
        from ray.cluster_utils import Cluster

        common = {"node_ip_address": HOST, "object_store_memory": STORE_BYTES}
        self._node = {**common, "num_cpus": cpus}
        settings = {
            "include_dashboard": False,
            "_system_config": dict(NOTICES),
        }  # which Ray changes
        head = {**common, **settings, "num_cpus": 0}
        # What would end it when this interpreter exits keeps on for longer than we do.
        self._cluster = Cluster(initialize_head=True, head_node_args=head, shutdown_at_exit=False)
        self.nodes: list[Any] = [self.add() for _ in range(nodes)]

    @property
    def address(self) -> str:
        """For RayExecutor and ray.init."""
        return str(self._cluster.address)

    def add(self, **resources: Any) -> Any:
        """One more node; returned when it takes work."""
        return self._cluster.add_node(**{**self._node, **resources})

    def kill(self, node: Any) -> None:
        """SIGKILL for all processes of a node, and so for its workers."""
        self._cluster.remove_node(node, allow_graceful=False)

    def close(self) -> None:
        """Ends all."""
        self._cluster.shutdown()


@contextmanager
def ray_cluster(nodes: int, cpus: int = 1) -> Iterator[RayCluster]:
    """Has a cluster; inside, the environment is such that drivers and workers find it."""
    # Short: what is below it are sockets, whose paths may have 107 bytes.
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    before = dict(os.environ)
    os.environ.update(ENVIRONMENT, RAY_TMPDIR=folder, RAY_AUTH_TOKEN=TOKEN)
    try:
        cluster = RayCluster(nodes, cpus)
        try:
            yield cluster
        finally:
            import ray

            ray.shutdown()
            cluster.close()
    finally:
        os.environ.clear()
        os.environ.update(before)
        shutil.rmtree(folder)
    assert not Path(folder).exists()


@contextmanager
def connection(cluster: RayCluster) -> Iterator[Any]:
    """Ray, as a user has connected it."""
    import ray

    ray.init(cluster.address, logging_level="warning", log_to_driver=False)
    yield ray
    ray.shutdown()


def living_actors() -> list[Any]:
    """Those that the connected cluster has."""
    from ray._private.state import actors

    return [actor for actor in actors().values() if actor["State"] != "DEAD"]
