"""Worker processes that do a stream of tasks, whose results come in the order of the tasks."""

from __future__ import annotations

import math
import os
import pickle
import select
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from millstream.errors import WorkerDied
from millstream.execution.memory import free_memory
from millstream.execution.ordered import Ordered
from millstream.execution.pickling import pickled
from millstream.execution.protocol import Outcome
from millstream.execution.worker import Worker

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Empty = Callable[[tuple[int, ...], np.dtype[Any]], npt.NDArray[Any]]

R = TypeVar("R")

# Results that the consumer holds may take this part of the memory that is free at the start.
HELD_PART = 4


class Crew(Ordered[R]):
    """Processes, whose results lie in memory that they share with this one.

    begin: called once in each worker, with the worker's number, for the function that does its
    tasks; it gets a task, and what makes arrays in the slot by which its result comes. limit: bytes
    of results that may be held before they are copied; by default a quarter of the free memory.
    """

    def __init__(
        self,
        begin: Callable[[int], Callable[[Any, Empty], R]],
        *,
        workers: int,
        ahead: int,
        limit: int | None = None,
    ) -> None:
        # Not at the top: workers without slots import this package too, and need no numpy.
        from millstream.execution.ring import Budget, Ring

        super().__init__(workers=workers, ahead=ahead)
        content = pickled(begin, "the dataset or a function of its loader")
        self._owner = os.getpid()
        self._workers: list[Worker] = []
        self._answered = select.poll()
        budget = Budget(free_memory() // HELD_PART if limit is None else limit)
        try:
            for number in range(workers):
                self._workers.append(Worker(content, number, Ring(budget)))
                self._answered.register(self._workers[-1].socket, select.POLLIN)
        except BaseException:
            self.close()
            raise

    @property
    def usable(self) -> bool:
        """Whether a stream may begin: all workers were alive, and are this process's own."""
        return bool(self._workers) and os.getpid() == self._owner

    def _send(self, worker: int, tag: int, task: Any) -> None:
        self._workers[worker].give(tag, pickle.dumps(task))

    def _hear(self, under_way: dict[int, Any], timeout: float | None) -> list[Outcome[R]]:
        events = self._answered.poll(None if timeout is None else math.ceil(1000 * timeout))
        ready = {descriptor for descriptor, _ in events}
        outcomes: list[Outcome[R]] = []
        for worker in self._workers if ready else []:
            if worker.fileno() not in ready:
                continue
            outcome = worker.hear()
            if outcome is None:
                raise WorkerDied(self._obituary(worker, under_way))
            outcomes.append(outcome)
        return outcomes

    def _obituary(self, worker: Worker, under_way: dict[int, Any]) -> str:
        worker.end(kill=True)
        number, workers = self._workers.index(worker), len(self._workers)
        task = next((f"at {under_way[tag]}" for tag in worker.tags if tag in under_way), "idle")
        return (
            f"worker {number} of {workers} (process {worker.process.pid}) {worker.death()}, {task}"
        )

    def close(self) -> None:
        """Ends all workers at once. Results that were given out stay as they are."""
        workers, self._workers = self._workers, []
        self._answered = select.poll()
        for worker in workers:
            worker.end(kill=True)

    _break = close
