"""Threads that do requests: at once those that somebody waits for, the others in their turn."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from millstream.reading.fetching.gate import Gate

T = TypeVar("T")


class Turns:
    """Does work with at most so many threads, started as they are needed, until `close`.

    Work that is due goes by its turn, as much at once as the gate lets through. Urgent work waits
    only for a thread: it is small, and would else wait for requests a thousand times its size.
    """

    def __init__(self, gate: Gate, most: int) -> None:
        self._gate, self._most = gate, most
        self._changed = threading.Condition()
        self._urgent: deque[Callable[[], object]] = deque()
        self._due: list[tuple[float, int, Callable[[], int]]] = []
        self._numbers = itertools.count()
        self._under_way = 0
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._closed = False

    def urgent(self, work: Callable[[], T]) -> Future[T]:
        """Has something done as soon as there is a thread."""
        future: Future[T] = Future()

        def run() -> None:
            try:
                future.set_result(work())
            except BaseException as error:
                future.set_exception(error)

        with self._changed:
            self._urgent.append(run)
            self._wake()
        return future

    def due(self, when: float, work: Callable[[], int]) -> None:
        """Has something done when the gate lets it through, the smallest `when` first.

        work: returns how many bytes came; it must not raise.
        """
        with self._changed:
            heapq.heappush(self._due, (when, next(self._numbers), work))
            self._wake()

    def close(self) -> None:
        """Ends the threads when what they do now is done; nothing more is begun."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def threads(self) -> int:
        """How many there are."""
        return len(self._threads)

    def _wake(self) -> None:
        if self._closed:
            return
        if self._idle:
            self._idle -= 1  # here, so that the next is not for this one too
            self._changed.notify()
        elif len(self._threads) < self._most:
            thread = threading.Thread(target=self._work, daemon=True)
            self._threads.append(thread)
            thread.start()

    def _work(self) -> None:
        while (work := self._next()) is not None:
            work()

    def _next(self) -> Callable[[], object] | None:
        with self._changed:
            while not self._closed:
                if self._urgent:
                    return self._urgent.popleft()
                if self._due and self._under_way < self._gate.limit:
                    if not self._under_way:
                        self._gate.begin()
                    self._under_way += 1
                    return self._through_the_gate(heapq.heappop(self._due)[2])
                if self._due:
                    self._gate.held_up()
                self._idle += 1
                self._changed.wait()
            return None

    def _through_the_gate(self, work: Callable[[], int]) -> Callable[[], None]:
        def run() -> None:
            nbytes = work()
            with self._changed:
                self._under_way -= 1
                if nbytes:
                    self._gate.came(nbytes)
                for _ in range(min(len(self._due), self._gate.limit - self._under_way)):
                    self._wake()

        return run
