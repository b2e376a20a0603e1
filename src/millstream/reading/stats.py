"""What reading has cost, and where the time of a loader's batches went."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from operator import add, sub
from time import perf_counter as now
from typing import Any, NamedTuple, Self

__all__ = ["NOTHING", "TRAINER", "LoaderStats", "ReadStats", "Stages", "now", "total"]

# A trainer that waits for less than this part of the time is not held up by its data.
HELD_UP = 0.05
# Who makes batches if no worker does.
TRAINER = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadStats:
    """What reading has cost so far; adds up over datasets and processes.

    Attributes:
        fetched_chunks: Whole chunks from the store.
        fetched_bytes: Of these.
        opened_chunks: Chunks out of the cache.
        ranged_requests: For parts of chunks.
        ranged_bytes: Of these parts.
        replaced_chunks: Copies in the cache that had gone bad.
        opened_bytes: What came out of compression or encryption, near or far.
    """

    fetched_chunks: int = 0
    fetched_bytes: int = 0
    opened_chunks: int = 0
    ranged_requests: int = 0
    ranged_bytes: int = 0
    replaced_chunks: int = 0
    opened_bytes: int = 0

    def __add__(self, other: ReadStats) -> Self:
        return self._with(other, add)

    def __sub__(self, other: ReadStats) -> Self:
        return self._with(other, sub)

    def _with(self, other: ReadStats, combine: Callable[[Any, Any], Any]) -> Self:
        names = [field.name for field in fields(self)]
        return type(self)(
            **{name: combine(getattr(self, name), getattr(other, name, 0)) for name in names}
        )


NOTHING = ReadStats()


def total(parts: Iterable[ReadStats]) -> ReadStats:
    """What they cost together; NOTHING itself where all is near."""
    costs = [part for part in parts if part is not NOTHING]
    return sum(costs[1:], costs[0]) if costs else NOTHING


class Stages(NamedTuple):
    """When one worker was at the stages of a batch, in seconds of the clock `now`.

    free: when it was done with the batch before. begun, read, decoded, made: when it began, and was
    done with each stage; transforms count as decoding. network: the seconds of reading in which it
    waited for the network. worker: its number, or TRAINER.
    """

    free: float
    begun: float
    read: float
    decoded: float
    made: float
    network: float
    worker: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LoaderStats(ReadStats):
    """What reading has cost, and how many seconds went where; print it to see what is slowest.

    What ReadStats counts is counted here too. The seconds of workers are those of all together.

    Attributes:
        batches: That the trainer was given.
        seconds: Of the trainer, from where it asked for a batch to where it asked for the next.
        waited_seconds: Those of them in which it waited for a batch.
        started_seconds: The part of these until the first batch of an epoch was begun, as workers
            start.
        handed_over_seconds: The part of the waiting in which the batch was already made.
        fetch_seconds: In which workers waited for the network.
        read_seconds: In which workers read and verified.
        decode_seconds: In which workers decoded, and ran transforms.
        collate_seconds: In which workers put batches together.
        idle_seconds: In which workers waited until the trainer wanted more.
    """

    batches: int = 0
    seconds: float = 0.0
    waited_seconds: float = 0.0
    started_seconds: float = 0.0
    handed_over_seconds: float = 0.0
    fetch_seconds: float = 0.0
    read_seconds: float = 0.0
    decode_seconds: float = 0.0
    collate_seconds: float = 0.0
    idle_seconds: float = 0.0

    @property
    def bottleneck(self) -> str:
        """What a faster run would have to make faster, but for the start of its workers."""
        waited = self.waited_seconds - self.started_seconds
        if waited <= HELD_UP * (self.seconds - self.started_seconds):
            return "the trainer"
        if self.handed_over_seconds > waited / 2:
            return "the hand-over"
        stages = {
            "the network": self.fetch_seconds,
            "reading": self.read_seconds,
            "decoding and transforms": self.decode_seconds,
            "collating": self.collate_seconds,
        }
        return max(stages, key=lambda name: stages[name])

    def __str__(self) -> str:
        share = self.waited_seconds / self.seconds if self.seconds else 0.0
        return (
            f"{self.batches:,} batches in {self.seconds:.2f} s, of which the trainer waited "
            f"{self.waited_seconds:.2f} s ({share:.0%}), {self.started_seconds:.2f} s of them for "
            f"workers to start and {self.handed_over_seconds:.2f} s for the hand-over. Workers: "
            f"network {self.fetch_seconds:.2f} s, reading "
            f"{self.read_seconds:.2f} s, decoding and transforms {self.decode_seconds:.2f} s, "
            f"collating {self.collate_seconds:.2f} s, idle {self.idle_seconds:.2f} s. "
            f"Bottleneck: {self.bottleneck}"
        )
