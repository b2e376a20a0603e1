"""What a loader asks of a dataset, whether it is one, a mixture, or several side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from millstream.format import Field
from millstream.plan import AnyEpoch, AnyOrder
from millstream.reading.output import Room
from millstream.reading.reader import Empty, Rows
from millstream.reading.stats import ReadStats

# The positions of some rows in an epoch, made if they are needed.
MakePositions = Callable[[], Rows]


class Structure(Protocol):
    """What a sample looks like."""

    @property
    def fields(self) -> Sequence[Field]:
        """The fields that are read."""

    def rebuild(self, leaves: Sequence[Any]) -> Any:
        """A sample's structure around one thing a field."""


class Read(Protocol):
    """Some rows, not yet decoded."""

    @property
    def source(self) -> Structure:
        """What they look like."""

    @property
    def taken(self) -> Rows:
        """The numbers of the rows that these really are; -1 where nothing was read."""

    @property
    def waited(self) -> float:
        """The seconds that reading took for the network."""

    def columns(self, output: Room) -> list[Any]:
        """The fields: an array (rows, *shape) where there is one, else a list.

        output: makes the arrays that decoding fills.
        """


class Passing(Protocol):
    """What goes ahead of a stream."""

    def passed(self, position: int) -> None:
        """All positions of the epoch before this one were read."""


class Feed(Protocol):
    """Rows, and the orders that they can have."""

    @property
    def version_digest(self) -> str:
        """Names the version of the data."""

    def order(
        self,
        ranks: int,
        saved: Mapping[str, Any] | None = None,
        *,
        shuffle: bool | None = None,
        batch_size: int | None = None,
    ) -> AnyOrder:
        """The order on so many ranks; settings that were left open are taken from `saved`.

        shuffle: None for what the dataset was told. batch_size: of a rank, None where there are
        no batches; few orders depend on it.
        """

    def read(self, epoch: AnyEpoch, rows: Rows, at: MakePositions, empty: Empty = np.empty) -> Read:
        """Rows by the numbers that an epoch of an order gives them, read and verified.

        at: their positions in it, of which follows what decoding draws. empty: makes the columns.
        """

    def ahead(
        self, order: AnyOrder, epoch: int, start: int, *, rank: int, ranks: int, among: int = 1
    ) -> Passing:
        """Has fetched what a rank needs from a position of an epoch on, beyond its end too.

        among: the streams that share the cache's room.
        """

    @property
    def is_near(self) -> bool:
        """Whether all of it is read where it lies."""

    @property
    def stats(self) -> ReadStats:
        """What this process has read of data that is far away, whole chunks not counted."""

    def fetched(self) -> ReadStats:
        """The whole chunks that this process and its workers had fetched."""
