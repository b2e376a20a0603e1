"""What an epoch's plan costs where the data is far away."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from millstream.errors import UnsupportedError, UsageError
from millstream.plan import ENDLESS, AnyEpoch, AnyOrder, Needs, Plan
from millstream.reading.feed import Feed
from millstream.reading.fetching.arriving import RANGE_BYTES
from millstream.reading.reader import Rows
from millstream.reading.run import Shape
from millstream.units import size_text


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ChunkCosts:
    """The chunks of one dataset that are needed, between which positions, and all chunks' bytes."""

    needs: Needs
    sizes: Rows

    def moved(self, by: int, stop: int) -> ChunkCosts:
        """The same at positions that count from elsewhere, as far as these are 0 to stop - 1."""
        first, last = self.needs.first + by, self.needs.last + by
        there = (last >= 0) & (first < stop)
        first, last = np.maximum(first, 0)[there], np.minimum(last, stop - 1)[there]
        needs = Needs(chunk=self.needs.chunk[there], first=first, last=last)
        return ChunkCosts(needs=needs, sizes=self.sizes)

    @staticmethod
    def joined(parts: Sequence[ChunkCosts]) -> ChunkCosts:
        """Those of one dataset, together."""
        needs = Needs(
            chunk=np.concatenate([part.needs.chunk for part in parts]),
            first=np.concatenate([part.needs.first for part in parts]),
            last=np.concatenate([part.needs.last for part in parts]),
        )
        return ChunkCosts(needs=needs, sizes=parts[0].sizes)


@runtime_checkable
class Costed(Protocol):
    """A feed that knows what its chunks cost."""

    def costs(self, epoch: AnyEpoch, rank: int, ranks: int) -> Iterable[ChunkCosts]:
        """The chunks that a rank needs in an epoch, of each dataset."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What an epoch costs one rank, or all together if `rank` is None.

    Attributes:
        epoch: Its number.
        rank: Whose costs these are; None: those of all together.
        ranks: How many there are.
        batch_size: Samples a batch on each rank.
        steps: Of the epoch.
        samples: Without those that only fill a batch.
        left_out: Samples that drop_last leaves out, of all ranks.
        repeated: Samples that are read again to fill batches.
        chunks: That are read, each counted once.
        chunk_bytes: Of these.
        requests: That fetch them whole, besides ranges read ahead of these.
        peak_bytes: The most in chunks that have to be kept at the same time; with room for them
            in the cache, and for what is fetched ahead, none is fetched twice.
        first_batch_chunks: The most chunks whose heads the first step needs.
    """

    epoch: int
    rank: int | None
    ranks: int
    batch_size: int
    steps: int
    samples: int
    left_out: int
    repeated: int
    chunks: int
    chunk_bytes: int
    requests: int
    peak_bytes: int
    first_batch_chunks: int

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    def facts(self) -> list[tuple[str, str]]:
        """Names and what they are, for people."""
        who = f"all {self.ranks} together" if self.rank is None else f"{self.rank} of {self.ranks}"
        some = [f"{self.left_out:,} left out"] * (self.left_out > 0)
        some += [f"{self.repeated:,} read again to fill batches"] * (self.repeated > 0)
        return [
            ("epoch", f"{self.epoch}"),
            ("rank", who if self.ranks > 1 else ""),
            ("steps", f"{self.steps:,} of {self.batch_size:,} samples a rank"),
            ("samples", ", ".join([f"{self.samples:,}", *some])),
            ("chunks", f"{self.chunks:,}, {size_text(self.chunk_bytes)}"),
            ("requests", f"{self.requests:,} for whole chunks"),
            ("at once", f"{size_text(self.peak_bytes)} in chunks, at most"),
            ("first step", f"heads of {self.first_batch_chunks:,} chunks, at most"),
        ]

    def __str__(self) -> str:
        return "\n".join(f"{name:10}  {value}" for name, value in self.facts() if value)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetPlan(Plan):
    """The plan of a dataset's epoch, which also knows what its rows cost.

    `dataset.plan()` and `loader.plan()` make one. Rank r of R reads the positions p with
    p mod R = r.

    Attributes:
        epoch: The epoch's order: `epoch.rows(positions)` are row numbers, `epoch.number` its own.
        batch_size: Samples a batch on each rank.
        ranks: How many there are.
        drop_last: Whether only steps count that give each rank a full batch.
        start: The position that step 0 begins at.
        pad: Whether the last step is filled up with samples that came before.
    """

    feed: Feed

    def explain(self, rank: int | None = None) -> Explanation:
        """What this plan costs a rank; None: all ranks together, as if on one machine.

        Takes memory and time in proportion to the chunks. Raises UsageError for an epoch without
        end, UnsupportedError for data that is not kept in chunks.
        """
        if rank is not None and not 0 <= rank < self.ranks:
            raise UsageError(f"rank {rank} of {self.ranks} ranks: out of range")
        if not isinstance(self.feed, Costed):
            raise UnsupportedError("only datasets of chunks can say what their plans cost")
        if self.epoch.length == ENDLESS:
            raise UsageError('length=float("inf") has no end, so what it costs cannot be said')
        end = self.after(self.steps)
        who = (0, 1) if rank is None else (rank, self.ranks)
        # Positions count from where the plan starts.
        found = self.feed.costs(self.epoch, *who)
        costs = [cost.moved(-self.start, end - self.start) for cost in found]
        sizes = [cost.sizes[np.unique(cost.needs.chunk)] for cost in costs]
        first_end = self.after(min(self.steps, 1)) - self.start
        heads = (cost.needs.chunk[cost.needs.first < first_end] for cost in costs)
        samples = len(range(self.start + (who[0] - self.start) % who[1], end, who[1]))
        read = self.steps * self.batch_size * (self.ranks if rank is None else 1)
        return Explanation(
            epoch=self.epoch.number,
            rank=rank,
            ranks=self.ranks,
            batch_size=self.batch_size,
            steps=self.steps,
            samples=samples,
            left_out=self.epoch.length - end,
            repeated=read - samples if self.pad else 0,
            chunks=sum(map(len, sizes)),
            chunk_bytes=sum(int(of_one.sum()) for of_one in sizes),
            requests=sum(int((-(-of_one // RANGE_BYTES)).sum()) for of_one in sizes),
            peak_bytes=_peak(costs),
            first_batch_chunks=sum(len(np.unique(chunks)) for chunks in heads),
        )


def planned(feed: Feed, order: AnyOrder, shape: Shape, epoch: int, start: int = 0) -> DatasetPlan:
    """The plan of an epoch of an order of a feed's rows."""
    return DatasetPlan(
        epoch=order.epoch(epoch),
        batch_size=shape.batch_size,
        ranks=shape.ranks,
        drop_last=shape.drop_last,
        pad=shape.pad,
        start=start,
        feed=feed,
    )


def _peak(costs: Iterable[ChunkCosts]) -> int:
    """The most bytes of chunks between whose first and last positions there is one and the same."""
    at: list[Rows] = []
    change: list[Rows] = []
    for cost in costs:
        chunk, which = np.unique(cost.needs.chunk, return_inverse=True)
        first = np.full(len(chunk), np.iinfo(np.int64).max)
        last = np.zeros(len(chunk), np.int64)
        np.minimum.at(first, which, cost.needs.first)
        np.maximum.at(last, which, cost.needs.last)
        at += [first, last + 1]
        change += [cost.sizes[chunk], -cost.sizes[chunk]]
    if not at:
        return 0
    times, changes = np.concatenate(at), np.concatenate(change)
    in_time = np.lexsort((changes, times))  # what ends goes before what begins
    return int(np.cumsum(changes[in_time]).max(initial=0))
