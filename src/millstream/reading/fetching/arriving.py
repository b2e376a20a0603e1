"""One object on its way into the cache, by ranges, and who waits for some of its bytes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress

from millstream.cache import Filling
from millstream.reading.fetching.asks import Buffer, Piece, Wanted

RANGE_BYTES = 8 << 20


class Arriving:
    """Writes the ranges of an object; whoever brings the last one finishes it.

    done: ends when the object is in the cache, or with the error that kept it from there; `ended`
    is told that just before. get: gives the bytes of a piece.
    """

    def __init__(
        self,
        wanted: Wanted,
        filling: Filling,
        get: Callable[[Piece], Buffer],
        ended: Callable[[Wanted, BaseException | None], None],
    ) -> None:
        self.wanted = wanted
        self._filling, self._get, self._ended = filling, get, ended
        self.done: Future[None] = Future()
        self._changed = threading.Condition()
        starts = range(0, wanted.size, RANGE_BYTES)
        self.ranges = [(start, min(start + RANGE_BYTES, wanted.size)) for start in starts]
        self._todo = set(self.ranges)
        self._there: set[Piece] = set()
        self._under_way = 0
        self._error: BaseException | None = None
        self._over = False

    @property
    def has_failed(self) -> bool:
        """Whether it will never be there."""
        return self._error is not None

    def bring(self, part: Piece) -> int:
        """Fetches one of the ranges unless that was begun before; how many bytes came."""
        with self._changed:
            if part not in self._todo or self._over:
                return 0
            self._todo.remove(part)
            self._under_way += 1
        return self._bring(part)

    def bring_early(self, piece: Piece) -> None:
        """Fetches a piece that somebody waits for, ahead of the range that it lies in."""
        with self._changed:
            if self._over:
                return
            self._under_way += 1
        self._bring(piece)

    def abandon(self, error: Exception) -> None:
        """Fetches no more of it; who waits gets the error."""
        with self._changed:
            self._error = self._error or error
            self._todo.clear()
            over = not self._under_way and not self._over
            self._over = self._over or over
        if over:
            self._end()
        with self._changed:
            self._changed.notify_all()

    def todo(self) -> list[Piece]:
        """The ranges that were not begun, in order."""
        with self._changed:
            return sorted(self._todo)

    def lacking(self, pieces: Sequence[Piece]) -> list[Piece]:
        """Those of the pieces that are not there yet."""
        with self._changed:
            return [piece for piece in pieces if not self._is_there(piece)]

    def covering(self, pieces: Sequence[Piece]) -> list[Piece]:
        """The ranges in which these pieces lie."""
        numbers = {n for a, b in pieces for n in range(a // RANGE_BYTES, -(-b // RANGE_BYTES))}
        return [self.ranges[number] for number in sorted(numbers)]

    def wait(self, pieces: Sequence[Piece]) -> None:
        """Returns when these pieces are there; raises what kept them from coming."""
        with self._changed:
            while not (self._over or all(map(self._is_there, pieces))):
                self._changed.wait()
        if self._over:
            self.done.result()

    def _is_there(self, piece: Piece) -> bool:
        return piece in self._there or all(part in self._there for part in self.covering([piece]))

    def _bring(self, piece: Piece) -> int:
        nbytes, error = 0, None
        try:
            content = self._get(piece)
            self._filling.write(piece[0], content)
            nbytes = len(content)
        except BaseException as failure:
            error = failure
        with self._changed:
            self._under_way -= 1
            self._error = self._error or error
            if self._error is not None:
                self._todo.clear()
            elif error is None:
                self._there.add(piece)
            over = not self._todo and not self._under_way and not self._over
            self._over = self._over or over
        if over:
            self._end()
        with self._changed:
            self._changed.notify_all()
        return nbytes

    def _end(self) -> None:
        error = self._error
        try:
            if error is None:
                # Every read checks what it reads, so the whole is not hashed here too.
                lease = self._filling.finish(self.wanted.size, verify=False)
                if lease is not None:
                    lease.close()
        except BaseException as failure:
            error = failure
        finally:
            with suppress(OSError):
                self._filling.give_up()
        self._ended(self.wanted, error)
        if error is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(error)
