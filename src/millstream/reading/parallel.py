"""ParallelStreamingDataset: a sample of each of several datasets at every step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from textwrap import indent
from typing import cast

import numpy as np

from millstream.errors import UsageError
from millstream.plan import ENDLESS, AnyEpoch, SideBySideEpoch, generator
from millstream.reading.arguments import positive
from millstream.reading.beside import SideBySideStream, all_taken
from millstream.reading.combined import CombinedStreamingDataset
from millstream.reading.indexed import Indexed
from millstream.reading.reader import Rows
from millstream.reading.several import checked, drop_last, same
from millstream.reading.streamed import (
    Samples,
    Streamed,
    feed_of,
    interleaved,
    is_plain,
    samples_at,
)
from millstream.reading.transforms import MakeRng, Transform, Transforms


class ParallelStreamingDataset(Streamed):
    """Tuples of samples, one of each dataset, as one dataset that is streamed.

    Each dataset comes in its own order, with its own transform and decoding. One that has ended
    begins its next epoch, in that epoch's order. Which samples meet at a position can be computed:
    a run resumes exactly, with any number of ranks and workers and any batch size.

    Args:
        datasets: StreamingDatasets, StreamingRawDatasets or CombinedStreamingDatasets.
        length: The tuples of an epoch; datasets that are shorter begin anew. None: as many as the
            shortest has samples. `float("inf")`: no end, and no `len`.
        resume: With a length, whether a dataset goes on in the next epoch after the sample it had
            at the end of this one, so that all of its samples come in the course of the epochs; or
            begins anew with every epoch.
        transform: A function of the tuple of samples, or a list of them; what it returns is the
            sample. One that has a parameter `rng` gets a numpy.random.Generator keyed by (seed,
            epoch, position).
        seed: Of these generators; the orders are those of the datasets.

    Raises:
        UsageError: For arguments that make no sense.
    """

    def __init__(
        self,
        datasets: Sequence[Indexed | CombinedStreamingDataset],
        length: int | float | None = None,
        *,
        resume: bool = True,
        transform: Transform | Sequence[Transform] | None = None,
        seed: int = 42,
    ) -> None:
        self.datasets = checked(datasets, (Indexed, CombinedStreamingDataset))
        if type(seed) is not int:
            raise UsageError(f"seed is {seed!r}, expected an integer")
        self.seed, self.length, self.resume = seed, length, resume
        self.shuffle = same([dataset.shuffle for dataset in self.datasets])
        self.drop_last = drop_last([dataset.drop_last for dataset in self.datasets])
        self._transforms = Transforms(transform)
        self._feed_of_all = SideBySideStream(
            feeds=tuple(map(feed_of, self.datasets)),
            told=tuple(dataset.shuffle for dataset in self.datasets),
            length=_positions(length),
            goes_on=resume,
        )
        super().__init__()
        self._feed.order(1)  # what cannot be put side by side is an error now

    @property
    def _feed(self) -> SideBySideStream:
        return self._feed_of_all

    @property
    def _is_plain(self) -> bool:
        return not self._transforms and all(map(is_plain, self.datasets))

    def _samples_at(self, epoch: AnyEpoch, positions: Rows, rows: Rows) -> Samples:
        ours = cast(SideBySideEpoch, epoch)  # of an order that our feed made
        found = [self._of_one(number, ours, positions) for number in range(len(self.datasets))]
        tuples = zip(
            positions.tolist(), zip(*(own.samples for own, _ in found), strict=True), strict=True
        )
        apply, rng = self._transforms, self._position_rng
        samples = (apply(sample, rng(epoch.number, position)) for position, sample in tuples)
        taken = all_taken(rows, [(wanted, own.taken) for own, wanted in found])
        return Samples(samples, taken, sum(own.waited for own, _ in found))

    def _of_one(self, number: int, epoch: SideBySideEpoch, positions: Rows) -> tuple[Samples, Rows]:
        """The samples of one dataset, and the rows that they should be of."""
        wanted, parts = np.empty_like(positions), []
        for stretch in epoch.stretches(number, positions):
            turn = epoch.source_epoch(number, stretch.epoch)
            rows = wanted[stretch.here] = turn.rows(stretch.at)
            own = samples_at(self.datasets[number], turn, stretch.at, rows)
            parts.append((stretch.here, own))
        return interleaved(len(positions), parts), wanted

    def _position_rng(self, epoch: int, position: int) -> MakeRng:
        return lambda: generator(self.seed, epoch, position)

    def __len__(self) -> int:
        """The tuples of an epoch, over all ranks; TypeError if it has no end."""
        length = self._feed.order(1).length
        if length == ENDLESS:
            raise TypeError('length=float("inf") has no len()')
        return length

    def __repr__(self) -> str:
        parts = indent("".join(f"\n{dataset!r}," for dataset in self.datasets), "  ")
        length = self._feed.order(1).length
        count = "endless" if length == ENDLESS else f"{length:,} samples"
        return f"{type(self).__name__}({count}:{parts}\n)"


def _positions(length: object) -> int | None:
    if length is None:
        return None
    if isinstance(length, float) and length == math.inf:
        return ENDLESS
    found = positive(length)
    if found is None or found >= ENDLESS:
        raise UsageError(f'length is {length!r}, expected a number from 1, float("inf"), or None')
    return found
