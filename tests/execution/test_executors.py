"""Executors: every task ends once, with its value or with an error, and nothing is left behind."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest
from scripts import start
from sessions import run

from millstream.errors import (
    CorruptData,
    FunctionError,
    MillstreamError,
    NotPicklable,
    UsageError,
    WorkerDied,
)
from millstream.execution.inline import Inline
from millstream.execution.processes import Processes
from millstream.execution.protocol import Executor

pytestmark = pytest.mark.timeout(120)


@pytest.mark.parametrize("executor", [Inline(), Processes(1), Processes(3)])
def test_every_task_gives_its_value(executor: Executor) -> None:
    closed_over = 7
    outcomes = run(executor, lambda x: x * closed_over, list(range(50)))
    assert [outcome.result() for outcome in outcomes] == [7 * x for x in range(50)]


@pytest.mark.parametrize("executor", [Inline(), Processes(2)])
def test_errors_come_back_as_they_are(executor: Executor) -> None:
    class Odd(Exception):
        def __init__(self, one: int, two: int) -> None:
            super().__init__("odd")

    def work(x: int) -> int:
        if x == 0:
            raise CorruptData("chunk 7")
        if x == 1:
            raise ValueError("bad value")
        if x == 2:
            raise Odd(1, 2)
        return x

    first, second, third, last = run(executor, work, [0, 1, 2, 3])
    assert type(first.error) is CorruptData
    assert str(first.error) == "chunk 7"
    assert type(second.error) is FunctionError
    assert "ValueError: bad value" in str(second.error)
    assert "in work" in str(second.error)
    assert type(third.error) is FunctionError
    assert last.result() == 3


def test_a_worker_that_ends_is_an_error_and_the_waiting_task_is_done() -> None:
    def work(x: int) -> int:
        if x == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        if x == 3:
            os._exit(0)
        if x == 5:
            raise SystemExit(0)
        return x

    outcomes = run(Processes(1), work, list(range(8)))
    assert [o.tag for o in outcomes if o.error is None] == [0, 2, 4, 6, 7]
    assert type(outcomes[1].error) is WorkerDied
    assert "SIGKILL" in str(outcomes[1].error)
    assert type(outcomes[3].error) is WorkerDied
    assert type(outcomes[5].error) is FunctionError


def test_what_cannot_travel_is_an_error() -> None:
    lock = threading.Lock()
    with pytest.raises(NotPicklable, match="function"), Processes(1).open(lambda x: lock):
        pass
    with Processes(1).open(lambda x: x) as session, pytest.raises(NotPicklable, match="input"):
        session.submit(0, lock)
    outcome = run(Processes(1), lambda x: (i for i in x), [[1]])[0]
    assert "cannot be pickled" in str(outcome.error)


def test_large_messages_both_ways() -> None:
    content = os.urandom(40_000_000)
    for outcome in run(Processes(1), lambda data: data, [content] * 3):
        assert outcome.result() == content


def test_a_slow_task_holds_no_other_up(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)

    def work(x: int) -> int:
        if x == 0:
            gate.read_text()  # until somebody writes
        return x

    with Processes(2).open(work) as session:
        session.submit(0, 0)
        for tag in range(1, 30):
            session.submit(tag, tag)
            assert session.wait().tag == tag
        gate.write_text("go")
        assert session.wait().tag == 0


def test_workers_import_nothing_heavy() -> None:
    heavy = ("numpy", "torch", "PIL")
    loaded = run(Processes(1), lambda x: [m for m in heavy if m in __import__("sys").modules], [0])
    assert loaded[0].result() == []


DESCRIPTORS = """
    import os
    from millstream.execution.processes import Processes

    def run():
        with Processes(2).open(str) as session:
            session.submit(0, 1)
            session.wait()
        return len(os.listdir("/dev/fd"))

    before = run()
    print([run() - before for _ in range(10)])
"""


def test_no_descriptor_is_left() -> None:
    """In a process of its own: what other tests have left to be closed does not count."""
    out, err = start(DESCRIPTORS).communicate()
    assert out.strip() == str([0] * 10), err


def test_a_session_needs_tasks_and_workers() -> None:
    for executor in (Inline(), Processes(1)):
        with executor.open(str) as session, pytest.raises(RuntimeError):
            session.wait()
    with pytest.raises(UsageError):
        Processes(0)


BUSY = """
    import signal
    from millstream.execution.processes import Processes
    # What a shell starts in the background ignores SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    def work(x):
        print("begun\\n", end="", flush=True)  # one write, so that two workers' lines are whole
        signal.pause()
    with Processes(2).open(work) as session:
        session.submit(0, 0)
        session.submit(1, 1)
        session.wait()
"""


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
def test_no_worker_outlives_its_parent(sent: signal.Signals) -> None:
    process = start(BUSY)
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(2)] == ["begun\n"] * 2
    if sent == signal.SIGINT:
        os.killpg(process.pid, sent)  # as a terminal does it
    else:
        process.send_signal(sent)
    # The workers hold the pipe's other end: it ends when the last of them is gone.
    _, err = process.communicate()
    assert process.returncode != 0
    assert ("KeyboardInterrupt" in err) == (sent == signal.SIGINT)


def test_a_script_without_a_main_guard_runs_once() -> None:
    process = start("""
        from millstream.execution.processes import Processes
        print("script")
        class Thing:
            def __init__(self, n): self.n = n
        with Processes(2).open(lambda thing: thing.n + 1) as session:
            session.submit(0, Thing(4))
            print(session.wait().result())
    """)
    out, err = process.communicate()
    assert (out, err) == ("script\n5\n", "")


def test_functions_with_a_cache_travel_and_begin_empty() -> None:
    """Those of a script, of its classes and of functions in it: as plain functions do."""
    process = start("""
        from functools import cache, lru_cache
        from millstream.execution.processes import Processes

        @cache
        def fibonacci(n):
            return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)

        def make(factor):
            @lru_cache(maxsize=3)
            def scaled(n):
                return factor * n
            return scaled

        scaled = make(10)
        assert fibonacci(20) == 6765

        def work(n):
            before = fibonacci.cache_info().currsize
            return before, fibonacci(n), scaled(n), scaled.cache_info().maxsize

        with Processes(1).open(work) as session:
            for tag, task in enumerate([30, 30]):
                session.submit(tag, task)
            print([session.wait().result() for _ in range(2)])
    """)
    out, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    assert out == "[(0, 832040, 300, 3), (31, 832040, 300, 3)]\n"


def test_all_errors_survive_the_way_back() -> None:
    from millstream import errors

    kinds = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, MillstreamError)
    ]

    def work(name: str) -> None:
        raise getattr(__import__("millstream.errors").errors, name)("text")

    outcomes = run(Processes(1), work, [kind.__name__ for kind in kinds])
    assert [type(outcome.error) for outcome in outcomes] == kinds
    assert {str(outcome.error) for outcome in outcomes} == {"text"}


def test_no_task_waits_behind_a_slow_one(tmp_path: Path) -> None:
    gate, quick = tmp_path / "gate", tmp_path / "quick"
    os.mkfifo(gate)

    def work(x: int) -> int:
        if x < 2:  # both workers are slow until somebody writes
            gate.read_text()
        quick.touch()
        return x

    with Processes(2).open(work) as session:
        given = 0
        while session.free:
            session.submit(given, given)
            given += 1
        assert given == 2  # nothing is known yet of how long a task takes
        with gate.open("w"):
            pass
        assert session.wait().tag in (0, 1)
