"""What a stream asks of where its rows come from: written chunks, or files as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol, Self

import numpy as np

from millstream.format.tree import Tree
from millstream.plan import Keys, Needs
from millstream.plan.permute import Ints
from millstream.reading.decoding import Decoder
from millstream.reading.feed import Read, Structure
from millstream.reading.reader import Empty, Rows, Values
from millstream.reading.stats import ReadStats

# A key for each of some rows, made if something is drawn.
MakeKeys = Callable[[], Keys]


class NeedyEpoch(Protocol):
    """An epoch of one source, for who fetches ahead."""

    @property
    def length(self) -> int:
        """The number of positions."""

    def needs(self, rank: int, ranks: int) -> Needs:
        """Which chunks a rank reads, and when at the earliest and the latest."""

    def rows(self, positions: Ints) -> Rows:
        """The source's rows at positions; -1 where another source is read."""


class Followed(Protocol):
    """What goes ahead of a stream, as long as it lives."""

    def at(self, position: int) -> None:
        """The stream has passed all positions before this one."""


class ReadRows(Read, Protocol):
    """Some rows, not yet decoded."""

    def samples(self) -> Iterator[Any]:
        """The samples, decoded as they are asked for."""


class Decodes(Structure, Protocol):
    """What makes values of stored rows."""

    def beside_decoders(self, stored: Sequence[Values]) -> Iterator[tuple[Decoder, Values]]:
        """Each field's values beside what decodes them."""

    def name_of(self, row: int) -> str:
        """A row, as errors name it."""


class RowSource(Structure, Protocol):
    """Rows by their numbers, from 0, which lie in chunks. Pickles."""

    # What goes ahead of an epoch that is still to come.
    next_up: Followed | None

    @property
    def place(self) -> object:
        """Where it lies, as text."""

    @property
    def tree(self) -> Tree:
        """The structure of a sample, as it is read."""

    @property
    def digest(self) -> str:
        """Names the version of the data; its first 16 characters do, too."""

    @property
    def chunk_rows(self) -> Rows:
        """The rows of each chunk, int64."""

    @property
    def nbytes(self) -> int:
        """The bytes of all chunks."""

    @property
    def block_size(self) -> int | None:
        """The tokens of a row, if rows are blocks of tokens."""

    def again(self) -> Self:
        """The same, for another stream: what goes ahead of the one is not the other's."""

    def read(self, rows: Rows, keys: MakeKeys, empty: Empty = np.empty) -> ReadRows:
        """Rows (int64, in any order, repeats allowed), read and verified.

        keys: of what decoding draws, one a row. empty: makes the columns. Raises RowOutOfRange.
        """

    def pick(self, rows: Rows, keys: MakeKeys) -> ReadRows:
        """The same, for a row here and there."""

    def sample(self, row: int, keys: MakeKeys) -> Any:
        """One sample, by the number of a row that there is."""

    def follow(
        self, epochs: Iterable[NeedyEpoch], rank: int, ranks: int, among: int = 1
    ) -> Followed | None:
        """Has what is far away fetched ahead of a rank that goes through these epochs.

        Positions count through all of them. None where nothing is far away. among: the streams
        that share the cache's room.
        """

    @property
    def is_near(self) -> bool:
        """Whether it is read where it lies."""

    @property
    def stats(self) -> ReadStats:
        """What this process has read of data that is far away, whole objects not counted."""

    def fetched(self) -> ReadStats:
        """The whole objects that this process and its workers had fetched."""
