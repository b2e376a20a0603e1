"""Where the chunks of a dataset come from that lies elsewhere, asked by their numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from millstream.errors import MillstreamError, StorageError
from millstream.format import ChunkTable
from millstream.format.keys import chunk_key
from millstream.reading.chunks import missing_chunk
from millstream.reading.fetching.asks import Buffer, Filled, Piece, Wanted
from millstream.reading.sparse import check_lengths
from millstream.reading.stats import ReadStats, now

T = TypeVar("T")


class Remote(Protocol):
    """What fetches objects. All that is asked for in a call is fetched at the same time.

    Raises FileNotFoundError, or another OSError.
    """

    def ranges(self, asks: Sequence[tuple[Wanted, Sequence[Piece]]]) -> Sequence[Sequence[Buffer]]:
        """Pieces of objects."""

    def fill(self, asks: Sequence[tuple[Wanted, Sequence[Piece]]]) -> Filled:
        """Has objects fetched to the cache if there is room; waits for these pieces of them."""


class Origin:
    """The chunks of a table, as they are fetched.

    stats: of what was fetched by pieces. waited: the seconds until answers came. Raises
    CorruptData for a chunk that is missing, else what the store raises.
    """

    def __init__(self, remote: Remote, table: ChunkTable) -> None:
        self._remote, self._table = remote, table
        self.stats = ReadStats()
        self.waited = 0.0  # seconds, for answers

    def wanted(self, chunk: int) -> Wanted:
        """The object that a chunk is."""
        name = self._table.name(chunk)
        return Wanted(key=chunk_key(name), name=name, size=int(self._table.sizes[chunk]))

    def ranges(self, asks: Sequence[tuple[int, Sequence[Piece]]]) -> list[Sequence[Buffer]]:
        """Pieces of chunks."""
        wanted = [(self.wanted(chunk), pieces) for chunk, pieces in asks]
        found = self._asked(asks, lambda: self._remote.ranges(wanted))
        for (chunk, pieces), contents in zip(asks, found, strict=True):
            check_lengths(self._table.name(chunk), pieces, contents)
            nbytes = sum(map(len, contents))
            self.stats += ReadStats(ranged_requests=len(pieces), ranged_bytes=nbytes)
        return list(found)

    def fill(self, asks: Sequence[tuple[int, Sequence[Piece]]]) -> Filled:
        """Has chunks fetched to the cache if there is room; waits for these pieces of them."""
        wanted = [(self.wanted(chunk), pieces) for chunk, pieces in asks]
        filled = self._asked(asks, lambda: self._remote.fill(wanted))
        self.stats += ReadStats(ranged_requests=filled.requests, ranged_bytes=filled.nbytes)
        return filled

    def _asked(self, asks: Sequence[tuple[int, object]], call: Callable[[], T]) -> T:
        began = now()
        try:
            return call()
        except FileNotFoundError as error:
            names = [self._table.name(chunk) for chunk, _ in asks]
            name = next((name for name in names if name in str(error)), names[0])
            raise missing_chunk(self._remote, name, chunk_key(name)) from None
        except OSError as error:
            if isinstance(error, MillstreamError):
                raise
            raise StorageError(f"cannot read {self._remote}: {error.strerror or error}") from error
        finally:
            self.waited += now() - began
