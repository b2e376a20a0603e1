"""What every dataset can do that is iterated in an order: here, and for loaders."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from millstream import interop
from millstream.plan import AnyEpoch
from millstream.reading.batches import Batches
from millstream.reading.explained import DatasetPlan, planned
from millstream.reading.feed import Feed
from millstream.reading.reader import Rows
from millstream.reading.run import check_rank, divided, drops_last

# The rows that plain iteration reads at a time.
BLOCK_ROWS = 64


class Streamed(ABC):
    """A dataset with an order; torch takes it for an IterableDataset."""

    seed: int
    shuffle: bool | None
    drop_last: bool | None

    def __init__(self) -> None:
        self._epoch = 0
        self._ranks: tuple[int, int] | None = None  # those of the process that pickled this
        self._register()

    def _register(self) -> None:
        """With torch in the process, isinstance(self, IterableDataset) holds."""
        if (torch := interop.loaded_torch()) is not None:
            torch.register_iterable(Streamed)

    @property  # type: ignore[misc]  # object's own can be set, which nobody does
    def __class__(self) -> type:
        """The class, as isinstance asks for it: torch may have come after this dataset was made."""
        self._register()
        return type(self)

    def __getstate__(self) -> dict[str, Any]:
        torch = interop.loaded_torch()
        ranks = self._ranks if torch is None else torch.ranks()
        return {**self.__dict__, "_ranks": ranks}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._register()

    # What the kinds of datasets differ in -----------------------------------------------------

    @property
    @abstractmethod
    def _feed(self) -> Feed:
        """The rows and their orders."""

    @property
    @abstractmethod
    def _is_plain(self) -> bool:
        """Whether samples are as they are stored, so that batches can be made of columns."""

    @abstractmethod
    def _samples_at(self, epoch: AnyEpoch, positions: Rows, rows: Rows) -> Samples:
        """The samples of rows, which have these positions in an epoch."""

    # As a stream ------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Any]:
        """This process's share of the next epoch, in order."""
        torch = interop.loaded_torch()
        share = Alone() if torch is None else torch.share(self._ranks)
        self._epoch += 1
        return self._share(share, self._epoch - 1)

    def _share(self, share: interop.Share, number: int) -> Iterator[Any]:
        drops = drops_last(self.drop_last, share.ranks)
        order = self._feed.order(share.ranks)
        whole = order.length - (order.length % share.ranks if drops else 0)
        mine = range(share.rank, whole, share.ranks)[share.worker :: share.workers]
        ahead = self._feed.ahead(order, number, 0, rank=share.rank, ranks=share.ranks)
        epoch = order.epoch(number)
        for start in range(0, len(mine), BLOCK_ROWS):
            block = mine[start : start + BLOCK_ROWS]
            positions = np.arange(block.start, block.stop, block.step, dtype=np.int64)
            yield from self._samples_at(epoch, positions, epoch.rows(positions)).samples
            ahead.passed(block.stop)

    def set_epoch(self, epoch: int) -> None:
        """The next `iter` gives this epoch.

        The workers of a plain torch DataLoader get a copy of the dataset for each epoch: there
        this has to be called before each, or every epoch has the order of the first.

        Args:
            epoch: Its number, from 0.
        """
        self._epoch = epoch

    # Its order --------------------------------------------------------------------------------

    def plan(
        self,
        *,
        batch_size: int,
        ranks: int = 1,
        epoch: int = 0,
        drop_last: bool | None = None,
        pad: bool = False,
        start: int = 0,
    ) -> DatasetPlan:
        """Who reads what when in an epoch: `.batch(step, rank)` gives row numbers, `.when(row)`
        the places of a row, `.explain()` what it costs. `loader.plan()` is that of a loader.

        Args:
            batch_size: Samples a batch on each rank.
            ranks: How many there are.
            epoch: Its number, from 0.
            drop_last: As for a StreamingDataLoader.
            pad: As for a StreamingDataLoader.
            start: The position that step 0 begins at, as a state has it that a run goes on from.

        Raises:
            UsageError: For arguments that make no sense.
        """
        shape = divided(batch_size, ranks, self._drops(drop_last), pad)
        order = self._feed.order(ranks, batch_size=batch_size)
        return planned(self._feed, order, shape, epoch, start)

    def batches(
        self,
        batch_size: int,
        *,
        rank: int = 0,
        ranks: int = 1,
        drop_last: bool | None = None,
        pad: bool = False,
    ) -> Batches:
        """Epochs of numpy batches, without torch: the structure of a sample around arrays
        (batch, *shape), or lists where rows differ in shape or are no arrays.

        Transforms are not applied: they are functions of one sample.

        Args:
            batch_size: Samples a batch on each rank.
            rank: The number of this process among those that train, from 0.
            ranks: How many train.
            drop_last: As for a StreamingDataLoader.
            pad: Whether the last batch is full on every rank, as for a StreamingDataLoader.

        Raises:
            UsageError: For arguments that make no sense.
        """
        check_rank(rank, ranks)
        shape = divided(batch_size, ranks, self._drops(drop_last), pad)
        return Batches(self._feed, shape, rank)

    def _drops(self, given: bool | None) -> bool | None:
        return self.drop_last if given is None else given


# For the loader, and not for users of a dataset -----------------------------------------------


def feed_of(dataset: Streamed) -> Feed:
    """The rows of a dataset and their orders."""
    return dataset._feed


def is_plain(dataset: Streamed) -> bool:
    """Whether samples are as they are stored: no transform, no overridden __getitem__."""
    return dataset._is_plain


class Samples(NamedTuple):
    """Samples, made as they are asked for.

    taken: which rows they really are: as the reader took them from the chunks, or, where a
    `__getitem__` is overridden, those that it was called for. waited: seconds, for the network.
    """

    samples: Iterator[Any]
    taken: Rows
    waited: float


def interleaved(count: int, parts: Iterable[tuple[Rows, Samples]]) -> Samples:
    """So many samples out of parts. Each part goes to places, in its own order."""
    taken, whose = np.empty(count, np.int64), np.empty(count, np.int64)
    found: list[Samples] = []
    for number, (here, part) in enumerate(parts):
        taken[here], whose[here] = part.taken, number
        found.append(part)
    samples = (next(found[number].samples) for number in whose.tolist())
    return Samples(samples, taken, sum(part.waited for part in found))


def samples_at(dataset: Streamed, epoch: AnyEpoch, positions: Rows, rows: Rows) -> Samples:
    """The samples of rows (numbers in the version), which have these positions in an epoch."""
    return dataset._samples_at(epoch, positions, rows)


class Alone:
    """The share of a process without torch: everything."""

    rank = worker = 0
    ranks = workers = 1
