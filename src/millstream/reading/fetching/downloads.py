"""Objects of a store into the cache, each by several ranges at once; and pieces, past it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial
from typing import cast

from millstream.cache import Busy, Cache, Lease
from millstream.errors import CorruptData, StorageError
from millstream.reading.fetching.arriving import Arriving
from millstream.reading.fetching.asks import Buffer, Filled, Piece, Presence, Wanted
from millstream.reading.fetching.turns import Turns
from millstream.store import ListingStore, ReadableStore

# When a range is due that somebody waits for, before all positions of streams; and the last range
# of an object of which nobody has said more.
NOW, SOME_DAY = -1.0, 1e15


class Downloads:
    """Fetches from one store into one cache, until `close`.

    fetched: objects and bytes that were fetched whole. An object is fetched once, whoever asks.
    """

    def __init__(self, store: ReadableStore, cache: Cache, turns: Turns) -> None:
        self._store, self.cache, self._turns = store, cache, turns
        self._lock = threading.Lock()
        self._under_way: dict[str, Arriving] = {}
        self._early = 0
        self.fetched = (0, 0)

    def ranges(self, asks: Sequence[tuple[Wanted, Sequence[Piece]]]) -> list[list[Buffer]]:
        """Pieces of objects, all at once; raises what the store raises."""
        pieces = [
            [self._turns.urgent(partial(self._get, wanted, piece)) for piece in some]
            for wanted, some in asks
        ]
        return [_results(some) for some in pieces]

    def allow_early(self, nbytes: int) -> None:
        """So many bytes may now be fetched twice, so that who waits for them has them early.

        At the start of a stream nothing has come yet, and its first batches need a little of many
        objects. Later everything comes in its turn, and to fetch it twice would only be slower.
        """
        with self._lock:
            self._early = max(self._early, nbytes)

    def fill(self, asks: Sequence[tuple[Wanted, Sequence[Piece]]]) -> Filled:
        """Waits until pieces of objects are in the cache, all of which are fetched to there.

        Raises what the store raises. Of objects for which there is no room nothing is there.
        """
        begun = [self.begin(wanted, (NOW, SOME_DAY), wait=True) for wanted, _ in asks]
        lacking = [
            (object, object.lacking(pieces))
            for object, (_, pieces) in zip(begun, asks, strict=True)
            if isinstance(object, Arriving)
        ]
        requests, nbytes = self._hurry(lacking)
        presence = [
            self._wait(object, pieces) for object, (_, pieces) in zip(begun, asks, strict=True)
        ]
        return Filled(presence=presence, requests=requests, nbytes=nbytes)

    def begin(self, wanted: Wanted, due: tuple[float, float], *, wait: bool) -> Arriving | Presence:
        """Has an object fetched; or says that it is there, or that there is no room for it.

        due: when its first and its last byte are needed. wait: whether to wait for another process
        that is fetching it, else Busy is raised.
        """
        try:
            with self._lock:  # so that nobody waits for another thread as for another process
                known = self._under_way.get(wanted.name)
                if known is not None and not known.has_failed:
                    return known if due[1] == SOME_DAY else self._schedule(known, due)
                # What has failed ends when its last request does, and is in the way until then.
                begun = Presence.NONE if known else self._begin(wanted, wait=False)
            if known is not None:
                if not wait:
                    raise Busy(f"chunk {wanted.name} could not be fetched a moment ago")
                known.done.exception()
                return self.begin(wanted, due, wait=wait)
        except Busy:
            if not wait:
                raise
            begun = self._begin(wanted, wait=True)
        return self._schedule(begun, due) if isinstance(begun, Arriving) else begun

    def hold(self, wanted: Wanted, begun: object) -> Lease | None:
        """Keeps an object from being evicted; None if it is not in the cache."""
        return self.cache.find(wanted.name, wanted.size)

    def skip(self, wanted: Wanted) -> None:
        """A stream needs an object no more that was not begun."""

    def _schedule(self, object: Arriving, due: tuple[float, float]) -> Arriving:
        """Gives each range that is left its turn, or an earlier one than it had."""
        for part in object.todo():
            when = due[0] + (due[1] - due[0]) * part[0] / object.wanted.size
            self._turns.due(when, partial(object.bring, part))
        return object

    def _begin(self, wanted: Wanted, *, wait: bool) -> Arriving | Presence:
        begun = self.cache.begin(wanted.name, wanted.size, wait=wait)
        if begun is None:
            return Presence.NONE
        if isinstance(begun, Lease):
            begun.close()
            return Presence.WHOLE
        object = Arriving(wanted, begun, partial(self._get, wanted), self._ended)
        self._under_way[wanted.name] = object
        return object

    def _hurry(self, lacking: Sequence[tuple[Arriving, list[Piece]]]) -> tuple[int, int]:
        """Has pieces come soon: the number and the bytes of those that are fetched twice for it."""
        nbytes = sum(stop - start for _, pieces in lacking for start, stop in pieces)
        with self._lock:
            early = self._early > 0  # all that a batch waits for, or nothing: it waits for the last
            self._early -= nbytes if early else 0
        if not early:
            for object, pieces in lacking:
                for part in object.covering(pieces):
                    self._turns.due(NOW, partial(object.bring, part))
            return 0, 0
        for object, pieces in lacking:
            for piece in pieces:
                self._turns.urgent(partial(object.bring_early, piece))
        return sum(len(pieces) for _, pieces in lacking), nbytes

    def _wait(self, object: Arriving | Presence, pieces: Sequence[Piece]) -> Presence:
        if isinstance(object, Presence):
            return object
        object.wait(pieces)
        return Presence.WHOLE if object.done.done() else Presence.PART

    def _get(self, wanted: Wanted, piece: Piece) -> Buffer:
        start, stop = piece
        key = wanted.key
        if wanted.listed is None:
            content = self._store.get(key, piece)
        else:  # by this very store
            content = cast(ListingStore, self._store).get_listed(wanted.listed, piece)
        if len(content) != stop - start:
            raise CorruptData(
                f"{self._store}: bytes {start} to {stop} of {key} were asked for, "
                f"{len(content)} arrived; copy or write this object again"
            )
        return content

    def _ended(self, wanted: Wanted, error: BaseException | None) -> None:
        with self._lock:
            self._under_way.pop(wanted.name, None)
            if error is None:
                self.fetched = (self.fetched[0] + 1, self.fetched[1] + wanted.size)

    def close(self) -> None:
        """Ends the threads when what they do now is done; what is not there yet never will be."""
        self._turns.close()
        with self._lock:
            under_way = list(self._under_way.values())
        for object in under_way:
            object.abandon(StorageError(f"{self._store}: nobody reads from there any more"))


def _results(pieces: Sequence[Future[Buffer]]) -> list[Buffer]:
    return [piece.result() for piece in pieces]
