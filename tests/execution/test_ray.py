"""The executor of a Ray cluster, on a real one: as every executor, and when machines are lost."""

from __future__ import annotations

import os
import random
import select
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ray_cluster import RayCluster, connection, living_actors, ray_cluster
from scripts import start
from sessions import run

from millstream.errors import (
    ClusterUnavailable,
    CorruptData,
    FunctionError,
    NotPicklable,
    UnsupportedError,
    UsageError,
    WorkerDied,
)
from millstream.execution.inline import Inline
from millstream.execution.machine import Machine
from millstream.execution.ray import RayExecutor

pytestmark = pytest.mark.timeout(120)

RAY = RayExecutor(wait_seconds=60)  # that of this machine, which is the test's


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[RayCluster]:
    """Two nodes of one CPU; a test that kills one adds another."""
    with ray_cluster(2) as made:
        yield made


@pytest.fixture(scope="module")
def connected(cluster: RayCluster) -> Iterator[Any]:
    """Ray, as a user has connected it."""
    with connection(cluster) as ray:
        yield ray


def test_the_results_are_those_of_this_process(connected: Any) -> None:
    rng = random.Random(5)
    tasks = [[rng.random() for _ in range(rng.randrange(2_000))] for _ in range(200)]
    factor = 3

    def work(task: list[float]) -> list[float]:
        return [factor * value for value in sorted(task)]

    assert run(RAY, work, tasks) == run(Inline(), work, tasks)
    assert connected.is_initialized()
    assert living_actors() == []


def test_errors_come_back_as_they_are(connected: Any) -> None:
    class Odd(Exception):
        def __init__(self, one: int, two: int) -> None:
            super().__init__("odd")

    def work(x: int) -> Any:
        if x == 0:
            raise CorruptData("chunk 7")
        if x == 1:
            raise ValueError("bad value")
        if x == 2:
            raise Odd(1, 2)
        if x == 3:
            raise SystemExit(0)
        return (i for i in [x]) if x == 4 else x

    outcomes = run(RAY, work, list(range(6)))
    assert [type(outcome.error) for outcome in outcomes] == [
        CorruptData, *[FunctionError] * 4, type(None),
    ]  # fmt: skip
    for outcome, text in zip(
        outcomes, ["chunk 7", "ValueError: bad value", "odd", "SystemExit", "pickled"], strict=False
    ):
        assert text in str(outcome.error)
    assert "in work" in str(outcomes[1].error)


def test_what_cannot_travel_is_an_error(connected: Any) -> None:
    lock = threading.Lock()
    with pytest.raises(NotPicklable, match="function"), RAY.open(lambda x: lock):
        pass
    with RAY.open(lambda x: x) as session, pytest.raises(NotPicklable, match="input"):
        session.submit(0, lock)
    assert living_actors() == []


def test_large_messages_both_ways(connected: Any) -> None:
    content = os.urandom(20_000_000)
    for outcome in run(RAY, lambda data: data, [content] * 4):
        assert outcome.result() == content


def test_what_was_loaded_stays_and_workers_are_on_all_nodes(connected: Any) -> None:
    loaded: list[int] = []

    def work(x: int) -> tuple[int, str]:
        import ray

        loaded.append(x)
        return len(loaded), ray.get_runtime_context().get_node_id()

    found = [outcome.result() for outcome in run(RAY, work, list(range(300)))]
    assert len({node for _, node in found}) == 2
    assert sum(count == 1 for count, _ in found) == 2


def test_a_worker_that_ends_is_an_error_and_the_others_are_done(connected: Any) -> None:
    def work(x: int) -> int:
        if x == 20:
            os.kill(os.getpid(), signal.SIGKILL)
        if x == 40:
            os._exit(0)
        return x

    outcomes = run(RAY, work, list(range(60)))
    died = [outcome.tag for outcome in outcomes if outcome.error is not None]
    assert died == [20, 40]
    assert {type(outcomes[tag].error) for tag in died} == {WorkerDied}
    assert "127.0.0.1" in str(outcomes[20].error)


def wait_for_end(gates: list[Any]) -> None:
    """Returns when nobody reads one of these pipes any more."""
    poll = select.poll()
    for gate in gates:
        poll.register(gate, 0)
    assert [event for _, event in poll.poll(30_000)] == [select.POLLERR]


def both_up(session: Any) -> int:
    """Waits until the workers of two nodes have answered; the number of tasks that took."""
    seen: set[str] = set()
    given = 0
    while len(seen) < 2:
        first = given
        while session.free:
            session.submit(given, None)
            given += 1
        seen |= {session.wait().result() for _ in range(first, given)}
    return given


def test_a_machine_that_is_lost_loses_no_task(
    connected: Any, cluster: RayCluster, tmp_path: Path
) -> None:
    gates = [tmp_path / name for name in "ab"]
    for gate in gates:
        os.mkfifo(gate)

    def work(gate: Path | None) -> str:
        import ray

        if gate is not None:
            again = gate.with_suffix(".begun").exists()
            with gate.with_suffix(".begun").open("a") as attempts:
                attempts.write("x")
            if not again:
                gate.read_text()  # until the test closes it
        return str(ray.get_runtime_context().get_node_id())

    with RAY.open(work) as session:
        given = both_up(session)
        for tag, gate in enumerate(gates, given):
            session.submit(tag, gate)
        held = [gate.open("w") for gate in gates]  # when workers read: both are at it
        cluster.kill(cluster.nodes.pop())
        wait_for_end(held)  # its worker follows it a little later
        for gate in held:
            gate.close()
        assert {session.wait().tag, session.wait().tag} == {given, given + 1}
        cluster.nodes.append(cluster.add())
        both_up(session)  # the new one too
    attempts = sorted(gate.with_suffix(".begun").read_text() for gate in gates)
    assert attempts == ["x", "xx"]
    assert living_actors() == []


def test_when_no_machine_is_left_it_is_an_error(connected: Any, cluster: RayCluster) -> None:
    executor = RayExecutor(wait_seconds=2)
    with (
        pytest.raises(ClusterUnavailable, match="no worker has come up in 2 seconds"),
        executor.open(lambda x: signal.pause()) as session,
    ):
        session.submit(0, None)
        while cluster.nodes:
            cluster.kill(cluster.nodes.pop())
        session.wait()
    cluster.nodes += [cluster.add(), cluster.add()]


def test_other_versions_on_a_node_are_refused(
    connected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import millstream

    here = millstream.__version__
    monkeypatch.setattr(millstream, "__version__", "7.8")
    with (
        pytest.raises(UnsupportedError, match=f"has millstream {here}, and .* millstream 7.8"),
        RAY.open(str),
    ):
        pass


def test_a_node_without_millstream_is_an_error_that_says_so(
    connected: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "millstream.py").write_text("raise ImportError('none of it is here')")
    monkeypatch.setattr("sys.path", [str(tmp_path), *sys.path])
    with pytest.raises(UnsupportedError, match=r"none of it is here.*all nodes"), RAY.open(str):
        pass
    assert living_actors() == []


def test_after_an_error_nothing_is_left(connected: Any) -> None:
    with pytest.raises(KeyError), RAY.open(lambda x: signal.pause()) as session:
        session.submit(0, 0)
        raise KeyError
    assert living_actors() == []


def test_more_than_any_machine_has_is_an_error_that_says_what_there_is(connected: Any) -> None:
    executor = RayExecutor(
        machine=Machine(cpus=8, gpus=1), num_workers=2, num_nodes=1, wait_seconds=1
    )
    with pytest.raises(ClusterUnavailable) as error, executor.open(str):
        pass
    assert "num_cpus=4, num_gpus=0.5" in str(error.value)
    # At least: nodes that other tests have killed may not be known to be gone.
    assert str(error.value).count("127.0.0.1 has CPU 1, GPU 0") >= 2
    assert living_actors() == []


def test_another_address_than_the_connection_is_refused(connected: Any) -> None:
    executor = RayExecutor(address="127.0.0.1:1")
    with pytest.raises(UsageError, match=r"127\.0\.0\.1:1"), executor.open(str):
        pass


SCRIPT = """
    import ray, sys
    from millstream.execution.ray import RayExecutor
    print("script")
    class Thing:
        def __init__(self, n): self.n = n
    add = 3
    def work(thing): return thing.n + add
    with RayExecutor().open(work) as session:
        session.submit(0, Thing(4))
        print(session.wait().result())
    with RayExecutor(address=sys.argv[1]).open(lambda n: work(Thing(n))) as session:
        session.submit(0, 5)
        print(session.wait().result())
        print(ray.is_initialized())
    print(ray.is_initialized())
"""


def test_functions_of_a_script_travel_and_its_connection_ends(cluster: RayCluster) -> None:
    out, err = start(SCRIPT, cluster.address).communicate()
    assert out == "script\n7\n8\nTrue\nFalse\n", err


BUSY = """
    import signal
    from millstream.execution.ray import RayExecutor
    signal.signal(signal.SIGINT, signal.default_int_handler)
    def work(gate):
        open(gate).read()  # until the test writes, or never
        signal.pause()
    import sys
    with RayExecutor().open(work) as session:
        session.submit(0, sys.argv[1])
        session.wait()
"""


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
def test_no_actor_outlives_its_driver(sent: signal.Signals, connected: Any, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    process = start(BUSY, gate)
    with gate.open("w") as held:  # opens when the worker reads: it is at the task
        process.send_signal(sent)
        _, err = process.communicate()
        wait_for_end([held])
    assert process.returncode != 0
    assert ("KeyboardInterrupt" in err) == (sent == signal.SIGINT)
