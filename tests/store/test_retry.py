"""Laws of trying again, on a clock that only waits move."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.errors import StorageError, UsageError
from millstream.store import Retry
from millstream.store.retry import Retrier

retries = st.builds(
    Retry,
    attempts=st.integers(1, 30),
    seconds=st.floats(0, 300),
    first_wait=st.floats(0.001, 5),
    longest_wait=st.floats(0.001, 60),
)
lucks = st.floats(0, 1, exclude_max=True)


@dataclass
class Failed:
    again: bool = True
    least_wait: float = 0.0


class GaveUp(Exception):
    pass


class Trial:
    """Runs a request that fails a number of times, and keeps what happened."""

    def __init__(self, retry: Retry, luck: float = 0.5) -> None:
        self.waits: list[float] = []
        self.attempts = 0
        self.told: list[float] = []
        self.retrier = Retrier(
            retry, clock=lambda: sum(self.waits), luck=lambda: luck, wait=self.wait
        )

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        return False

    def run(self, failures: int, failed: Failed) -> str:
        def request() -> str:
            self.attempts += 1
            if self.attempts <= failures:
                raise LookupError
            return "done"

        def explain(failure: Failed, attempts: int, seconds: float) -> Exception:
            assert failure is failed
            return GaveUp(attempts, seconds)

        def notice(failure: Failed, seconds: float) -> None:
            self.told.append(seconds)

        judge: Callable[[Exception], Failed | None] = lambda error: (  # noqa: E731
            failed if isinstance(error, LookupError) else None
        )
        return self.retrier.run(request, judge, explain, notice)


@given(retries, lucks, st.integers(0, 40), st.floats(0, 20))
def test_attempts_and_time_are_bounded(
    retry: Retry, luck: float, failures: int, least: float
) -> None:
    trial = Trial(retry, luck)
    try:
        assert trial.run(failures, Failed(least_wait=least)) == "done"
        assert trial.attempts == failures + 1
    except GaveUp as error:
        attempts, seconds = error.args
        assert attempts == trial.attempts <= retry.attempts
        assert seconds == sum(trial.waits)
        following = max(retry.wait(attempts, luck), least)
        assert attempts == retry.attempts or sum(trial.waits) + following > retry.seconds
    assert sum(trial.waits) <= retry.seconds
    assert all(seconds >= least for seconds in trial.waits)
    assert len(trial.told) == len(trial.waits)


@given(retries, st.integers(1, 10_000), lucks)
def test_a_wait_doubles_up_to_the_longest_and_loses_at_most_a_half(
    retry: Retry, attempt: int, luck: float
) -> None:
    full = min(retry.first_wait * 2.0 ** min(attempt - 1, 1_000), retry.longest_wait)
    assert full / 2 <= retry.wait(attempt, luck) <= full


def test_what_will_not_pass_is_tried_once() -> None:
    trial = Trial(Retry())
    with pytest.raises(GaveUp):
        trial.run(1, Failed(again=False))
    assert (trial.attempts, trial.waits) == (1, [])


def test_by_default_an_endpoint_may_be_away_for_40_seconds() -> None:
    for luck in (0.0, 0.5, 0.999):
        retry = Retry()
        waits = [retry.wait(attempt, luck) for attempt in range(1, retry.attempts)]
        assert 40 <= sum(waits) <= retry.seconds


def test_other_exceptions_pass_at_once() -> None:
    def request() -> str:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Trial(Retry()).retrier.run(request, lambda error: None, _never, _never)


def test_the_error_carries_nothing_of_what_the_client_said() -> None:
    with pytest.raises(GaveUp) as error:
        Trial(Retry()).run(1, Failed(again=False))
    assert error.value.__context__ is None
    assert error.value.__cause__ is None


def test_close_ends_a_wait() -> None:
    waiting = threading.Event()

    def request() -> str:
        raise LookupError

    retrier = Retrier(Retry(first_wait=3_600, longest_wait=3_600, seconds=10_000))
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(
            retrier.run, request, lambda error: Failed(), _never, lambda *_: waiting.set()
        )
        assert waiting.wait(60)
        retrier.close()
        with pytest.raises(StorageError, match="closed"):
            run.result(timeout=60)
    with pytest.raises(StorageError, match="closed"):
        retrier.run(request, lambda error: Failed(), _never, _never)


def test_chance_is_our_own() -> None:
    state = random.getstate()
    retrier = Retrier(Retry(attempts=2), wait=lambda seconds: False)
    with pytest.raises(GaveUp):
        retrier.run(_fail, lambda error: Failed(), lambda *_: GaveUp(), lambda *_: None)
    assert random.getstate() == state


@pytest.mark.parametrize("arguments", [{"attempts": 0}, {"seconds": -1.0}])
def test_nonsense_is_refused(arguments: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        Retry(**arguments)  # type: ignore[arg-type]


def _fail() -> str:
    raise LookupError


def _never(*arguments: object) -> Exception:
    raise AssertionError(arguments)
