"""Sessions of executors, as tests of them use one."""

from __future__ import annotations

from typing import Any

import pytest

from millstream.execution.protocol import Executor, Outcome


def run(executor: Executor, work: Any, tasks: list[Any]) -> list[Outcome[Any]]:
    """All outcomes, in the order of the tasks."""
    done: dict[int, Outcome[Any]] = {}
    with executor.open(work) as session:
        given = 0
        while len(done) < len(tasks):
            while session.free and given < len(tasks):
                session.submit(given, tasks[given])
                given += 1
            outcome = session.wait()
            assert outcome.tag not in done
            done[outcome.tag] = outcome
        with pytest.raises(RuntimeError, match="no task"):
            session.wait()
    return [done[tag] for tag in sorted(done)]
