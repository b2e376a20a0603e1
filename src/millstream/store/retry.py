"""Trying again: how often, after how long, and until when."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from millstream.errors import StorageError, UsageError

T = TypeVar("T")
Clock = Callable[[], float]
Wait = Callable[[float], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How long a request that fails for a passing reason is tried again.

    attempts: all together, the first included. seconds: no attempt starts later than that after
    the first. Waits double from first_wait up to longest_wait; each is cut by up to a half, by
    chance, so that many who failed together do not come back together. By default an endpoint
    may be away for at least 40 seconds.
    """

    attempts: int = 16
    seconds: float = 120.0
    first_wait: float = 0.1
    longest_wait: float = 10.0

    def __post_init__(self) -> None:
        if self.attempts < 1 or self.seconds < 0:
            raise UsageError(
                f"retries: {self.attempts} attempts in {self.seconds} seconds; expected at least "
                "1 attempt and 0 seconds"
            )

    def wait(self, attempt: int, luck: float) -> float:
        """Seconds between attempt 1, 2, ... and the next. luck: from 0 up to 1, by chance."""
        longest = min(self.first_wait * 2.0 ** min(attempt - 1, 60), self.longest_wait)
        return longest * (1 + luck) / 2


class Failure(Protocol):
    """What a retrier has to know of a request that failed."""

    @property
    def again(self) -> bool:
        """Whether it may go well another time."""

    @property
    def least_wait(self) -> float:
        """Seconds that the server asked for."""


F = TypeVar("F", bound=Failure)


class Retrier:
    """Runs requests until they succeed, fail for good, or time is up; `close` ends all waits.

    clock, luck and wait are the world: tests pass others. wait: takes seconds, and returns True
    if it was woken by `close`.
    """

    def __init__(
        self,
        retry: Retry,
        *,
        clock: Clock = time.monotonic,
        luck: Callable[[], float] | None = None,
        wait: Wait | None = None,
    ) -> None:
        self.retry = retry
        self._closed = threading.Event()
        # A generator of its own: the state of the user's must not move.
        self._clock, self._luck = clock, luck or random.Random().random
        self._wait = wait or self._closed.wait

    def run(
        self,
        request: Callable[[], T],
        judge: Callable[[Exception], F | None],
        explain: Callable[[F, int, float], Exception],
        notice: Callable[[F, float], None],
    ) -> T:
        """What `request` returns, in the end.

        judge: says what a failure is; None passes the exception on. explain: the error to raise,
        from the last failure, the number of attempts and the seconds they took. notice: told of a
        failure and the seconds since the first attempt, before each wait.
        """
        start, attempt = self._clock(), 0
        while True:
            if self._closed.is_set():
                raise StorageError("the store was closed")
            attempt += 1
            try:
                return request()
            except Exception as error:
                failure = judge(error)
                if failure is None:
                    raise
            wait = max(self.retry.wait(attempt, self._luck()), failure.least_wait)
            spent = self._clock() - start
            late = attempt >= self.retry.attempts or spent + wait > self.retry.seconds
            if not failure.again or late:
                break
            notice(failure, spent)
            self._wait(wait)
        # Outside of the except clause: what the client said may hold secrets, and is not chained.
        raise explain(failure, attempt, spent)

    def close(self) -> None:
        """Makes whoever waits, and all later requests, fail."""
        self._closed.set()
