"""Servers end with their starter; a start that fails is tried again, then told with its log."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest
from scripts import start

from servers.http import HTTPServer
from servers.process import (
    HOST,
    PACKAGES,
    TRIES,
    Program,
    ServerFailed,
    answers,
    free_ports,
    start_program,
)

GRACE_SECONDS = 30
STARTS_AND_WAITS = """
    import signal, sys
    from pathlib import Path
    sys.path.insert(0, sys.argv[1])
    from servers.azure import Azurite
    from servers.faultproxy import FaultProxy
    from servers.gcs import GCS
    from servers.http import HTTPServer
    from servers.hub import Hub
    from servers.link import Link
    from servers.seaweedfs import SeaweedFS

    folders = [Path(sys.argv[2], name) for name in ("azure", "gcs", "seaweedfs")]
    for folder in folders:
        folder.mkdir()
    azure, gcs, seaweedfs = folders
    servers = [
        Azurite(azure),
        FaultProxy("http://127.0.0.1:9"),
        GCS(gcs),
        HTTPServer(azure),
        Hub(azure),
        Link("http://127.0.0.1:9", rtt=0.01, rate=1e6),
        SeaweedFS(seaweedfs),
    ]
    print("ready", flush=True)
    signal.pause()
"""
PROCESSES = 4 + 3 * 2 + 1  # ours; three programs with their keepers; the shim


def test_servers_end_when_their_starter_is_killed(tmp_path: Path) -> None:
    sockets = set(Path("/tmp").glob("seaweedfs-*.sock"))
    starter = start(STARTS_AND_WAITS, PACKAGES, tmp_path)
    assert starter.stdout
    ready = starter.stdout.readline()
    started = psutil.Process(starter.pid).children(recursive=True)
    commands = [" ".join(process.cmdline()) for process in started]
    starter.send_signal(signal.SIGKILL)
    _, alive = psutil.wait_procs(started, timeout=GRACE_SECONDS)
    assert (ready, starter.communicate()[1]) == ("ready\n", "")
    assert len(started) == PROCESSES, commands
    assert not alive
    assert set(Path("/tmp").glob("seaweedfs-*.sock")) <= sockets


def test_closing_waits_until_the_process_is_gone(tmp_path: Path) -> None:
    with HTTPServer(tmp_path) as server:
        assert psutil.pid_exists(server.pid)
    assert not psutil.pid_exists(server.pid)


def test_a_program_whose_port_was_taken_gets_another(tmp_path: Path) -> None:
    tried: list[Sequence[int]] = []

    def program(ports: Sequence[int]) -> Program:
        tried.append(ports)
        here = ports[0] if len(tried) == TRIES else -1  # no port: it ends at once
        return Program(command=[sys.executable, "-m", "http.server", here, "--bind", HOST])

    def ready(ports: Sequence[int]) -> bool:
        return answers(ports[0], "/", 200)

    child, ports = start_program(program, ports=1, ready=ready, folder=tmp_path)
    with child:
        assert len(tried) == TRIES
        assert ports == tried[-1]
        assert len({tuple(ports) for ports in tried}) == TRIES


def test_a_program_that_never_runs_is_told_with_what_it_printed(tmp_path: Path) -> None:
    fails = Program(command=[sys.executable, "-c", "raise SystemExit('no disk left')"])
    with pytest.raises(ServerFailed, match="no disk left"):
        start_program(lambda ports: fails, ports=1, ready=lambda ports: False, folder=tmp_path)
    missing = Program(command=["/no/such/nobody"])
    with pytest.raises(ServerFailed, match="nobody does not get ready"):
        start_program(lambda ports: missing, ports=1, ready=lambda ports: False, folder=tmp_path)


def test_what_a_program_leaves_elsewhere_is_removed(tmp_path: Path) -> None:
    left = tmp_path / "socket"
    code = f"import signal; open({str(left)!r}, 'w').close(); signal.pause()"
    program = Program(command=[sys.executable, "-c", code], leaves=[str(left)])
    child, _ = start_program(
        lambda ports: program, ports=1, ready=lambda ports: left.exists(), folder=tmp_path
    )
    child.close()
    assert not left.exists()


def test_a_call_that_fails_over_there_is_raised_here(tmp_path: Path) -> None:
    with HTTPServer(tmp_path) as server:
        with pytest.raises(ServerFailed, match="KeyError: 'sing'"):
            server.ask("sing")
        assert server.ask("port") == server.port
        psutil.Process(server.pid).kill()
        with pytest.raises(ServerFailed, match="http ended: exit code -9"):
            server.ask("port")


def test_free_ports_are_distinct() -> None:
    assert len(set(free_ports(50))) == 50
