"""The contents of files that are far away: by way of the cache, or of the fetcher's memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from millstream.cache import Lease
from millstream.errors import MillstreamError, ObjectNotFound, StorageError
from millstream.reading.fetching.arriving import RANGE_BYTES
from millstream.reading.fetching.asks import Buffer, Piece, Presence, Wanted
from millstream.reading.fetching.client import FetchedStore
from millstream.reading.stats import ReadStats, now

T = TypeVar("T")


class _Asking:
    """stats: of what was opened, and fetched past the cache. waited: seconds, for answers."""

    def __init__(self, place: FetchedStore) -> None:
        self._place = place
        self.stats = ReadStats()
        self.waited = 0.0

    def _asked(self, call: Callable[[], T]) -> T:
        """Raises ObjectChanged or ObjectNotFound for a file that is no longer there as it was
        listed, and what the store raises."""
        began = now()
        try:
            return call()
        except FileNotFoundError as error:
            raise ObjectNotFound(
                f"{error} It was there when this dataset listed its files: put it back, or open "
                "the dataset anew"
            ) from None
        except OSError as error:
            if isinstance(error, MillstreamError):
                raise
            raise StorageError(f"cannot read {self._place}: {error.strerror or error}") from error
        finally:
            self.waited += now() - began


class TakenFiles(_Asking):
    """Reads whole files out of the fetcher's memory, past the cache."""

    def contents(self, wanted: Sequence[Wanted]) -> list[Buffer]:
        """Files, all fetched at the same time, unless they were before."""
        some = [one for one in wanted if one.size]
        found = iter(self._asked(lambda: self._place.take(some)) if some else [])
        sizes = sum(one.size for one in some)
        self.stats += ReadStats(ranged_requests=len(some), ranged_bytes=sizes)
        return [next(found) if one.size else b"" for one in wanted]


class FetchedFiles(_Asking):
    """Reads whole files. What finds no room in the cache is fetched into memory."""

    def __init__(self, place: FetchedStore) -> None:
        super().__init__(place)
        self._cache = place.cache()

    def contents(self, wanted: Sequence[Wanted]) -> list[Buffer]:
        """Files, all fetched at the same time."""
        distinct = {one.name: one for one in wanted if one.size}
        found: dict[str, Buffer | None] = {
            name: self._opened(self._cache.find, one) for name, one in distinct.items()
        }
        missing = [one for name, one in distinct.items() if found[name] is None]
        for one, presence in zip(missing, self._fill(missing), strict=True):
            if presence is Presence.WHOLE:
                found[one.name] = self._opened(self._cache.find, one)
            elif presence is Presence.PART:  # all of it, which has no name yet
                found[one.name] = self._opened(self._cache.arriving, one)
        beyond = [one for one in missing if found[one.name] is None]
        found.update(zip([one.name for one in beyond], self._past_the_cache(beyond), strict=True))
        return [found.get(one.name) or b"" for one in wanted]

    def _opened(self, find: Callable[[str, int], Lease | None], one: Wanted) -> bytes | None:
        """A copy: a mapping would take a descriptor for as long as somebody has it."""
        lease = find(one.name, one.size)
        if lease is None:
            return None
        self.stats += ReadStats(opened_chunks=1)
        try:
            return bytes(lease.content)
        finally:
            lease.close()

    def _fill(self, missing: Sequence[Wanted]) -> Sequence[Presence]:
        asks = [(one, [(0, one.size)]) for one in missing]
        return self._asked(lambda: self._place.fill(asks).presence) if asks else []

    def _past_the_cache(self, beyond: Sequence[Wanted]) -> list[Buffer]:
        if not beyond:
            return []
        asks = [(one, _pieces(one.size)) for one in beyond]
        found = self._asked(lambda: self._place.ranges(asks))
        for one, pieces in asks:
            self.stats += ReadStats(ranged_requests=len(pieces), ranged_bytes=one.size)
        return [parts[0] if len(parts) == 1 else b"".join(parts) for parts in found]


def _pieces(size: int) -> list[Piece]:
    return [(start, min(start + RANGE_BYTES, size)) for start in range(0, size, RANGE_BYTES)]
