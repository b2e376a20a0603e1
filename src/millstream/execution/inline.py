"""Tasks are done in this process, when they are waited for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from millstream.errors import MillstreamError
from millstream.execution.protocol import Outcome, Session, failure

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Inline:
    """The executor without processes."""

    workers: ClassVar[int] = 0
    apart: ClassVar[bool] = False

    @contextmanager
    def open(self, work: Callable[[Any], R]) -> Iterator[Session[R]]:
        """A session that calls `work` here."""
        yield _InlineSession(work)


class _InlineSession(Generic[R]):
    def __init__(self, work: Callable[[Any], R]) -> None:
        self._work = work
        self._tasks: deque[tuple[int, Any]] = deque()

    @property
    def free(self) -> int:
        return 1 - len(self._tasks)

    def submit(self, tag: int, task: Any) -> None:
        self._tasks.append((tag, task))

    def wait(self) -> Outcome[R]:
        if not self._tasks:
            raise RuntimeError("no task is under way")
        tag, task = self._tasks.popleft()
        try:
            return Outcome(tag=tag, value=self._work(task))
        except MillstreamError as error:
            return Outcome(tag=tag, error=error)
        except Exception as error:
            failed = failure(error)
            failed.__cause__ = error
            return Outcome(tag=tag, error=failed)
