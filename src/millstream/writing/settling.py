"""Has finished chunks outlive a power cut, while workers go on with the next ones."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from millstream.writing.placed import ChunkPlace, Placed

# Of each chunk the disk is waited for, which takes no core.
THREADS = 4
# So many chunks may wait for it: on a slow disk more would only fill the memory.
MOST = 8


class Settling:
    """Chunks that workers have put, on their way to the disk, in the order of coming.

    pool: where that is done; without one it is done at once.
    """

    def __init__(self, place: ChunkPlace, pool: ThreadPoolExecutor | None) -> None:
        self._place, self._pool = place, pool
        self._under_way: deque[tuple[int, Placed, Future[None]]] = deque()
        self._others: deque[Future[None]] = deque()

    def add(self, sequence: int, placed: Placed) -> None:
        """Settles a chunk that a worker has put; `finished` gives it, or raises."""
        digest, future = placed.chunk.digest, Future[None]()
        if self._pool is not None:
            future = self._pool.submit(self._place.settle, digest)
        else:
            self._place.settle(digest)
            future.set_result(None)
        self._under_way.append((sequence, placed, future))

    def later(self, work: Callable[[], None]) -> None:
        """Does what nobody waits for; whether it succeeded is seen by `finished`."""
        if self._pool is None:
            work()
        else:
            self._others.append(self._pool.submit(work))

    def finished(self, *, wait: bool = False) -> Iterator[tuple[int, Placed]]:
        """The chunks that are settled by now. Waits where too many are not; wait: for all."""
        most = 0 if wait else MOST
        while self._others and (wait or self._others[0].done()):
            self._others.popleft().result()
        while self._under_way:
            sequence, placed, future = self._under_way[0]
            if len(self._under_way) <= most and not future.done():
                return
            future.result()
            self._under_way.popleft()
            yield sequence, placed


@contextmanager
def settling(place: ChunkPlace, *, threads: int) -> Iterator[Settling]:
    """Chunks are settled by so many threads within this block; when it is left, by none."""
    if not threads:
        yield Settling(place, None)
        return
    with ThreadPoolExecutor(threads, thread_name_prefix="millstream-settle") as pool:
        try:
            yield Settling(place, pool)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
