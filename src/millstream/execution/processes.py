"""Tasks are done by worker processes of this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import wait as wait_readable
from typing import Any, ClassVar, TypeVar

from millstream.errors import UsageError
from millstream.execution.pickling import pickled
from millstream.execution.pool import Always, Pool
from millstream.execution.protocol import Session
from millstream.execution.worker import Worker

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Processes:
    """The executor of so many worker processes on this machine."""

    workers: int
    apart: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise UsageError(f"{self.workers} worker processes; at least 1")

    @contextmanager
    def open(self, work: Callable[[Any], R]) -> Iterator[Session[R]]:
        """A session of worker processes; raises NotPicklable if `work` cannot travel."""
        pool: _Processes[R] = _Processes(pickled(Always(work), "the function"), self.workers)
        try:
            yield pool
        except BaseException:
            pool.kill()
            raise
        finally:
            pool.close()


class _Processes(Pool[R, Worker]):
    def __init__(self, begin: bytes, workers: int) -> None:
        super().__init__()
        self._begin = begin
        try:
            for number in range(workers):
                self.workers.append(Worker(begin, number))
        except BaseException:
            self.kill()
            raise

    def _answered(self) -> Iterable[Worker]:
        return wait_readable(self.workers)  # type: ignore[arg-type, return-value]

    def _replace(self, worker: Worker) -> None:
        number = self.workers.index(worker)
        self.workers[number] = Worker(self._begin, number)

    def kill(self) -> None:
        for worker in self.workers:  # all at once, before any is waited for
            worker.process.kill()
        super().kill()
