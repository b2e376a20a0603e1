"""What every executor offers: open a session, submit tasks, wait for the next one to end."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, cast, runtime_checkable

from millstream.errors import FunctionError, MillstreamError

R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome(Generic[R]):
    """How the task that was submitted as `tag` ended: with a value or with an error."""

    tag: int
    value: R | None = None
    error: MillstreamError | None = None

    def result(self) -> R:
        """The value; raises the error if there is one."""
        if self.error is not None:
            raise self.error
        return cast(R, self.value)


def failure(error: BaseException) -> FunctionError:
    """What a foreign exception becomes: its type, its message and its traceback, as text."""
    trace = "".join(traceback.format_exception(error)).rstrip()
    return FunctionError(f"{type(error).__name__}: {error}\n{trace}")


class Session(Protocol[R]):
    """Tasks go in and come out in the order in which they end."""

    @property
    def free(self) -> int:
        """How many more tasks would be begun soon if they were submitted now."""

    def submit(self, tag: int, task: Any) -> None:
        """Has a task done. Raises NotPicklable if it cannot be sent to where it is done."""

    def wait(self) -> Outcome[R]:
        """Blocks until a task has ended; raises RuntimeError if none is under way."""


@runtime_checkable
class Executor(Protocol):
    """A way to run things."""

    @property
    def workers(self) -> int | None:
        """How many processes do the tasks; 0: the caller's own; None if that is not known yet."""

    @property
    def apart(self) -> bool:
        """Whether these may be on other machines than the caller."""

    def open(self, work: Callable[[Any], R]) -> AbstractContextManager[Session[R]]:
        """A session that calls `work` on each task. When it is left, nothing is running."""
