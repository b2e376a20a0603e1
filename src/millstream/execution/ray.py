"""Tasks are done by the workers of a Ray cluster: on many machines.

A worker is an actor with a part of its machine to itself. A machine that dies takes no task with
it: those it had are done by others; machines that join or come back take the place of lost ones.
"""

from __future__ import annotations

import importlib
import math
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from millstream import errors
from millstream.errors import ClusterUnavailable, UnsupportedError, UsageError
from millstream.execution.actor import actor_class, python_version, versions
from millstream.execution.actors import Actor, ActorPool
from millstream.execution.machine import Machine
from millstream.execution.pickling import pickled
from millstream.execution.pool import Always
from millstream.execution.protocol import Session

R = TypeVar("R")

KNOCK_SECONDS = 10
START_ONE = (
    "Start one with `ray start --head` on one machine and `ray start --address=HOST:6379` on each "
    'other one, and run this on one of them, or say which it is: RayExecutor(address="HOST:6379"). '
    "To have all of it done by this machine, leave num_nodes and executor out"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RayExecutor:
    """The executor of a Ray cluster, on one of whose machines this process runs.

    Workers are spread over the machines that have what they ask for: a `num_workers`-th of
    `machine` each, a CPU without one.

    Args:
        address: As for `ray.init`, "HOST:6379" or "auto". None is the cluster that this process is
            connected to, else the one of this machine.
        num_workers: So many on each machine, by default one a CPU: of `machine`, else of the
            cluster.
        machine: What each machine has to have.
        num_nodes: How many machines, by default all that the cluster has now.
        runtime_env: What Ray is to set up for workers.
        wait_seconds: How long the cluster may be without any worker.

    Raises:
        UsageError: For values that make no sense.
        UnsupportedError: For an address of Ray Client.
    """

    address: str | None = None
    num_workers: int | None = None
    machine: Machine | None = None
    num_nodes: int | None = None
    runtime_env: Mapping[str, Any] | None = None
    wait_seconds: float = 300

    apart: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name in ("num_workers", "num_nodes"):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < 1):
                raise UsageError(f"{name} is {value!r}, expected a number from 1")
        if not self.wait_seconds > 0:
            raise UsageError(f"wait_seconds is {self.wait_seconds!r}, expected more than 0")
        if self.address is not None and "://" in self.address:
            raise UnsupportedError(
                f"address is {self.address!r}: Ray Client is not supported. Run this on a machine "
                "of the cluster, or hand it to the cluster with `ray job submit`"
            )

    @property
    def workers(self) -> int | None:
        """How many there are to be; None where that depends on the cluster."""
        return self._each * self.num_nodes if self._each and self.num_nodes else None

    @property
    def _each(self) -> int | None:
        """How many on each machine; None for as many as it has CPUs."""
        if self.num_workers or self.machine is None:
            return self.num_workers
        return self.machine.cpus

    @contextmanager
    def open(self, work: Callable[[Any], R]) -> Iterator[Session[R]]:
        """A session of workers on the cluster, which begins once there is one.

        Raises NotPicklable if `work` cannot travel, ClusterUnavailable if no cluster is found or
        none of its machines has what a worker asks for, UnsupportedError without Ray, or where
        workers have other versions of Python or of what decides which bytes are written.
        """
        content = pickled(Always(work), "the function")
        with self._connected() as (ray, environment):
            pool = self._pool(ray, environment, content)
            try:
                yield pool
            finally:
                pool.close()

    @contextmanager
    def _connected(self) -> Iterator[tuple[Any, dict[str, Any]]]:
        """Ray itself, and the options of actors that say what is to be set up for them.

        A connection that was not there before ends with the block.
        """
        ray = _ray()
        environment = {} if self.runtime_env is None else {"runtime_env": dict(self.runtime_env)}
        if ray.is_initialized():
            there = ray.get_runtime_context().gcs_address
            if self.address not in (None, "auto", there):
                raise UsageError(
                    f"address is {self.address!r}, and this process is connected to {there!r}: "
                    "leave address out, or call ray.shutdown() before"
                )
            yield ray, environment
            return
        try:
            address = _found(self.address or "auto")
            _knock(address)
            # Here and not with the actors: Ray sends local folders only with a connection.
            ray.init(address, logging_level="warning", **environment)
        except (OSError, RuntimeError, ValueError) as error:
            which = f"at {self.address}" if self.address else "here"
            raise ClusterUnavailable(
                f"there is no Ray cluster {which} ({_first_sentence(error)}). {START_ONE}"
            ) from error
        try:
            yield ray, {}
        finally:
            ray.shutdown()

    def _pool(self, ray: Any, environment: dict[str, Any], content: bytes) -> ActorPool[Any]:
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        share = self._share()
        options = {**share, **environment, "max_restarts": 0, "scheduling_strategy": "SPREAD"}
        made = ray.remote(actor_class()).options(**options)
        sent, paths = ray.put(content), _own_paths()

        def start(number: int) -> Actor:
            handle = made.remote()
            begun = handle.begin.remote(python_version(), paths, sent, number)
            return Actor(ray, handle, begun)

        return ActorPool(
            ray,
            start,
            self._count(nodes),
            versions=versions(),
            wait_seconds=self.wait_seconds,
            wanted=lambda: _shortage(ray, share),
        )

    def _count(self, nodes: list[Mapping[str, float]]) -> int:
        """How many workers, on a cluster of nodes with such resources."""
        cpus = sorted((int(node.get("CPU", 0)) for node in nodes), reverse=True)
        if self._each:
            machines = self.num_nodes or sum(count > 0 for count in cpus)
            return max(1, machines * self._each)
        return max(1, self.num_nodes or 0, sum(cpus[: self.num_nodes]))

    def _share(self) -> dict[str, float]:
        """What a worker asks of its machine, as Ray calls it."""
        if self.machine is None:
            return {"num_cpus": 1}
        workers = self.num_workers or self.machine.cpus
        asked = {
            "num_cpus": part(self.machine.cpus, workers),
            "num_gpus": part(self.machine.gpus, workers),
        }
        if isinstance(self.machine.memory, int):
            asked["memory"] = self.machine.memory // workers
        return asked


def part(count: int, workers: int) -> float:
    """A worker's part of so many CPUs or GPUs: whole numbers above 1, else ten-thousandths.

    Rounded down, so that the parts of all workers fit.
    """
    if count >= workers:
        return count // workers
    return math.floor(count / workers * 10_000) / 10_000


def _ray() -> Any:
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise UnsupportedError(
            "a job on several machines (num_nodes, RayExecutor) needs Ray, which is not installed: "
            'pip install "millstream[ray]". To have all of it done by this machine, leave '
            "num_nodes and executor out"
        ) from error


def _first_sentence(error: Exception) -> str:
    """What is wrong. After it Ray tells of options of its own, which a caller of ours has not."""
    return str(error).partition(". ")[0]


def _found(address: str) -> str:
    """The address that Ray takes "auto" for, as far as it can be asked; OSError if there is none.

    It is where the last cluster of this machine was, which may be gone.
    """
    try:
        from ray._private.services import get_ray_address_from_environment as find
    except ImportError:  # another Ray has it elsewhere, and says nothing before it connects
        return address
    found: str = find(address, None)
    return found


def _knock(address: str) -> None:
    """Raises OSError where nobody listens: Ray would try for minutes, and blame something else."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), KNOCK_SECONDS).close()


def _own_paths() -> list[str]:
    """Where this process finds code beyond what its Python has installed."""
    installed = {Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve()}
    places = [*sys.path, str(Path(errors.__file__).parents[1])]
    found = [Path(place).resolve() for place in places]
    return [str(path) for path in dict.fromkeys(found) if not installed & {path, *path.parents}]


def _shortage(ray: Any, share: Mapping[str, float]) -> str:
    """What a worker asks for, and what there is."""
    asked = ", ".join(f"{name}={value:g}" for name, value in share.items() if value)
    nodes = [
        f"{node['NodeManagerAddress']} has {_amounts(node['Resources'])}"
        for node in ray.nodes()
        if node["Alive"]
    ]
    free = _amounts(ray.available_resources())
    return (
        f"Each asks for {asked}; {'; '.join(nodes)}; of all this, free now: {free}. Ask for less "
        "with machine= or num_workers=, or add machines"
    )


def _amounts(resources: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {resources.get(name, 0):g}" for name in ("CPU", "GPU", "memory"))
