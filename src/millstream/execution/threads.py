"""Threads that do a stream of tasks, whose results come in the order of the tasks."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from millstream.errors import MillstreamError
from millstream.execution.ordered import Ordered
from millstream.execution.protocol import Outcome, failure

R = TypeVar("R")
Ask = tuple[int, Any]


@dataclass(slots=True)
class _Post:
    """What threads and their owner know of each other; they hold no reference to the owner.

    void: tasks with a lower tag are no longer wanted.
    """

    answers: queue.SimpleQueue[Outcome[Any]]
    void: int = 0


class Threads(Ordered[R]):
    """Threads of this process: for functions that let go of the interpreter's lock.

    begin: called once in each thread, with its number, for the function that does its tasks. A
    function that is under way cannot be interrupted: `close` waits for it, an error does not.
    """

    def __init__(
        self, begin: Callable[[int], Callable[[Any], R]], *, workers: int, ahead: int
    ) -> None:
        super().__init__(workers=workers, ahead=ahead)
        self._owner = os.getpid()
        self._post = _Post(queue.SimpleQueue())
        self._asks: list[queue.SimpleQueue[Ask | None]] = []
        self._threads: list[threading.Thread] = []
        for number in range(workers):
            asks: queue.SimpleQueue[Ask | None] = queue.SimpleQueue()
            arguments = (begin, number, asks, self._post)
            name = f"millstream worker {number}"
            thread = threading.Thread(target=_work, args=arguments, name=name, daemon=True)
            self._asks.append(asks)
            self._threads.append(thread)
            thread.start()

    @property
    def usable(self) -> bool:
        """Whether a stream may begin: the threads were not ended, nor left behind by a fork."""
        return bool(self._threads) and os.getpid() == self._owner

    def _send(self, worker: int, tag: int, task: Any) -> None:
        self._asks[worker].put((tag, task))

    def _hear(self, under_way: dict[int, Any], timeout: float | None) -> list[Outcome[R]]:
        self._post.void = next(iter(under_way))  # of streams before this one nothing is wanted
        try:
            return [self._post.answers.get(timeout != 0, timeout)]
        except queue.Empty:
            return []

    def close(self) -> None:
        """Ends all threads, each after the task that it is at."""
        threads = self._threads
        self._break()
        for thread in threads:
            if thread is not threading.current_thread():  # garbage is collected in any of them
                thread.join()

    def _break(self) -> None:
        self._threads = []
        if os.getpid() == self._owner:
            self._post.void = next(self._tags)
            for asks in self._asks:
                asks.put(None)


def _work(
    begin: Callable[[int], Callable[[Any], Any]],
    number: int,
    asks: queue.SimpleQueue[Ask | None],
    post: _Post,
) -> None:
    work: Callable[[Any], Any] | None = None
    while (ask := asks.get()) is not None:
        tag, task = ask
        if tag < post.void:
            continue
        try:
            work = work or begin(number)
            post.answers.put(Outcome(tag=tag, value=work(task)))
        except MillstreamError as error:
            post.answers.put(Outcome(tag=tag, error=error))
        except BaseException as error:  # SystemExit too: a task that ends its thread has failed
            post.answers.put(Outcome(tag=tag, error=_failed(error, number, begun=work is not None)))


def _failed(error: BaseException, number: int, *, begun: bool) -> MillstreamError:
    failed = failure(error)
    if not begun:
        failed = type(failed)(f"worker {number} cannot begin: {failed}")
    failed.__cause__ = error
    return failed
