"""Several orders as one: which source is read at a position, and which of its positions.

Positions are dealt to strands: position p is in strand p mod W, at place p div W. In a strand the
source of each place comes from a shuffled block in which every source has its exact share. The
k-th place of a source in a strand is the source's own position k * W + strand. So each source is
read as a prefix of its own order, and if its lanes are the strands it keeps their locality.

Stratified mixtures have as many strands as their sources have lanes, each shuffled by itself. Where
batches are of one source, W is the global batch, and all strands are shuffled alike.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Any

import numpy as np

from millstream.errors import RowOutOfRange, UsageError
from millstream.plan.drawing import Drawing
from millstream.plan.order import Epoch, Needs, Order, check_positions
from millstream.plan.permute import Ints, derive
from millstream.plan.schedule import Schedule
from millstream.plan.weights import Group, Shares

# The weights of more sources are told by a digest: a state stays below 1 KB.
MOST_WEIGHTS_TOLD = 8


@dataclass(frozen=True, kw_only=True, eq=False)
class Mixture:
    """What decides the order of all epochs of a mixture; raises UsageError.

    A row of a mixture is a row of one of its sources: those of the first source come first, then
    those of the second, all that their versions have.

    tree: of the sources' numbers. lanes: of the sources, the same for all. global_batch: the
    positions that are of one source, None for a stratified mixture.
    """

    sources: tuple[Order, ...]
    tree: Group
    seed: int
    global_batch: int | None = None

    def __post_init__(self) -> None:
        if sorted(self.tree.sources()) != list(range(len(self.sources))):
            raise UsageError("a mixture names each of its sources once")
        lanes = [source.lanes for source in self.sources]
        if len(set(lanes)) > 1:
            raise UsageError(f"the sources of a mixture have {lanes} lanes; all need the same")
        if self.global_batch is not None and self.global_batch < 1:
            raise UsageError(f"a global batch of {self.global_batch}, expected at least 1")
        if self.global_batch and not self.length:
            raise UsageError(
                f"an epoch without a batch: datasets have {[s.length for s in self.sources]} "
                f"samples, and a global batch, {self.global_batch:,} of them, is of one dataset "
                'with batching_method="per_stream"; make batch_size smaller'
            )

    @property
    def width(self) -> int:
        """W, the number of strands."""
        return self.global_batch or self.sources[0].lanes

    @property
    def length(self) -> int:
        """The positions of an epoch."""
        return sum(self.used)

    @cached_property
    def used(self) -> tuple[int, ...]:
        """The positions of each source that an epoch of the mixture reads, from its first on."""
        rounds, rest = (part.drawn for part in self.parts)
        return tuple(self.width * n + m for n, m in zip(rounds, rest, strict=True))

    @property
    def left_out(self) -> tuple[int, ...]:
        """The rows of each source that it does not read."""
        return tuple(s.length - used for s, used in zip(self.sources, self.used, strict=True))

    @cached_property
    def parts(self) -> tuple[Schedule, Schedule]:
        """The draws for all strands together, and then, one strand, those of what is left.

        There is nothing left if batches are of one source.
        """
        sizes = tuple(source.length for source in self.sources)
        shares = Shares(tree=self.tree, sizes=sizes)
        room = tuple(size // self.width for size in sizes)
        rounds = Schedule(shares, room, width=self.width, first=0)
        done = [self.width * draws for draws in rounds.drawn]
        left = tuple(size - d for size, d in zip(sizes, done, strict=True))
        if self.global_batch:
            left = tuple(0 for _ in sizes)
        return rounds, Schedule(shares, left, width=1, first=sum(done))

    @cached_property
    def first_rows(self) -> Ints:
        """The row of the mixture that is a source's row 0; after the last, the number of rows."""
        rows = [int(source.chunk_rows.sum()) for source in self.sources]
        return np.cumsum([0, *rows], dtype=np.int64)

    def split(self, rows: Ints) -> tuple[Ints, Ints]:
        """The source of each row of the mixture, and its number there."""
        source = np.searchsorted(self.first_rows[1:], rows, side="right")
        return source, rows - self.first_rows[source]

    def settings(self) -> dict[str, Any]:
        """All that the order depends on, as JSON values: two orders are equal if these are."""
        return {
            "seed": self.seed,
            "batching_method": "per_stream" if self.global_batch else "stratified",
            "lanes": self.sources[0].lanes,
            "global_batch": self.global_batch,
            "shuffle": [source.shuffle for source in self.sources],
            "windows": [source.window for source in self.sources],
            **self._digests,
        }

    @cached_property
    def _digests(self) -> dict[str, Any]:
        mixing = _digest([list(part.numbers()) for part in self.parts])
        return {
            "iterate_over_all": self.tree.until_all,
            "weights": _told(self.tree.weights, mixing),
            "datasets": [_digest(source.settings()) for source in self.sources],
            "mixing": mixing,
        }

    def epoch(self, number: int) -> MixedEpoch:
        """The order of one epoch, from 0."""
        return MixedEpoch(mixture=self, number=number)


@dataclass(frozen=True, kw_only=True, eq=False)
class MixedEpoch:
    """One epoch of a mixture; every source is in the epoch of the same number."""

    mixture: Mixture
    number: int

    @property
    def length(self) -> int:
        """The number of positions."""
        return self.mixture.length

    def rows(self, positions: Ints) -> Ints:
        """The mixture's rows at positions, int64; UsageError for one outside the epoch."""
        source, at = self.drawn(positions)
        rows = self.mixture.first_rows[source]
        for number, epoch in enumerate(self.sources):
            mine = source == number
            if mine.any():
                rows[mine] += epoch.rows(at[mine])
        return rows

    def drawn(self, positions: Ints) -> tuple[Ints, Ints]:
        """The source at each position, and the position in that source's own epoch."""
        check_positions(positions, self.length)
        source, at = np.empty_like(positions), np.empty_like(positions)
        for part in self._parts:
            here = (positions >= part.start) & (positions < part.stop)
            if here.any():
                source[here], at[here] = part.drawn(positions[here])
        return source, at

    def counts(self, position: int) -> list[int]:
        """The samples of each source before a position."""
        counts = np.zeros(len(self.sources), np.int64)
        for part in self._parts:
            counts += part.counts(min(max(position, part.start), part.stop))
        return list(map(int, counts))

    def positions(self, rows: Ints) -> tuple[Ints, Ints]:
        """All positions of the mixture's rows, as pairs (index into rows, position).

        Raises RowOutOfRange for a row that no source has.
        """
        if ((rows < 0) | (rows >= self.mixture.first_rows[-1])).any():
            raise RowOutOfRange(
                f"a row lies outside a mixture of {int(self.mixture.first_rows[-1]):,} rows"
            )
        found: list[tuple[int, int]] = []
        for index, (source, row) in enumerate(zip(*self.mixture.split(rows), strict=True)):
            _, at = self.sources[int(source)].positions(np.array([row], np.int64))
            places = (part.position_of(int(source), p) for part in self._parts for p in at.tolist())
            found += [(index, place) for place in places if place is not None]
        pairs = np.array(found, np.int64).reshape(-1, 2)
        return pairs[:, 0], pairs[:, 1]

    def needs(self, source: int, rank: int, ranks: int) -> Needs:
        """Which chunks of a source a rank reads, and between which positions of the mixture."""
        needs = self.sources[source].needs(rank, ranks)
        reached = needs.first < self.mixture.used[source]
        last = np.minimum(needs.last[reached], self.mixture.used[source] - 1)
        return Needs(
            chunk=needs.chunk[reached],
            first=self._around(source, needs.first[reached])[0],
            last=self._around(source, last)[1],
        )

    def _around(self, source: int, at: Ints) -> tuple[Ints, Ints]:
        """For positions of a source, positions of the mixture before and after."""
        rounds, rest = self._parts
        first, last = np.full_like(at, rest.start), np.full_like(at, rest.stop - 1)
        early = at < rounds.used(source)
        if early.any():
            first[early], last[early] = rounds.around(source, at[early])
        return first, last

    @cached_property
    def sources(self) -> tuple[Epoch, ...]:
        """The epochs of the sources."""
        return tuple(source.epoch(self.number) for source in self.mixture.sources)

    @cached_property
    def _parts(self) -> tuple[_Part, _Part]:
        mixture = self.mixture
        rounds, rest = mixture.parts
        width = mixture.width
        strands = 1 if mixture.global_batch else width
        keys = [
            derive(f"mixture, {name}", mixture.seed, self.number) for name in ("rounds", "rest")
        ]
        done = tuple(width * draws for draws in rounds.drawn)
        none = tuple(0 for _ in done)
        return (
            _Part(rounds, Drawing(rounds, strands=strands, key=keys[0]), width, none),
            _Part(rest, Drawing(rest, strands=1, key=keys[1]), 1, done),
        )


@dataclass(frozen=True, slots=True)
class _Part:
    """A stretch of an epoch with so many strands. done: what was read of each source before."""

    schedule: Schedule
    drawing: Drawing
    width: int
    done: tuple[int, ...]

    @property
    def start(self) -> int:
        """Its first position."""
        return sum(self.done)

    @property
    def stop(self) -> int:
        """The position after its last."""
        return self.start + self.width * self.schedule.length

    def used(self, source: int) -> int:
        """Where the source's positions end that are read here."""
        return self.done[source] + self.width * self.schedule.drawn[source]

    def drawn(self, positions: Ints) -> tuple[Ints, Ints]:
        """The source at each position, and the position in that source's own epoch."""
        place, strand = np.divmod(positions - self.start, self.width)
        source, draw = self.drawing.drawn(strand % self.drawing.strands, place)
        return source, np.array(self.done)[source] + draw * self.width + strand

    def counts(self, position: int) -> Ints:
        """The samples of each source in this part before a position of it, or its end."""
        place = (position - self.start) // self.width
        if place == self.schedule.length:
            return self.width * np.array(self.schedule.drawn, np.int64)
        block = self.schedule.block_at(place)
        begun = np.arange(self.start + block.start * self.width, position, dtype=np.int64)
        before = self.width * np.array(block.before, np.int64)
        return before + np.bincount(self.drawn(begun)[0], minlength=len(before))

    def position_of(self, source: int, at: int) -> int | None:
        """Where a position of a source is read; None if not in this part."""
        if not self.done[source] <= at < self.used(source):
            return None
        draw, strand = divmod(at - self.done[source], self.width)
        place = self.drawing.place_of(source, strand % self.drawing.strands, draw)
        return self.start + place * self.width + strand

    def around(self, source: int, at: Ints) -> tuple[Ints, Ints]:
        """For positions of a source, positions of the mixture before and after."""
        first, last = self.schedule.around(source, (at - self.done[source]) // self.width)
        return (
            self.start + first * self.width,
            self.start + (last + 1) * self.width - 1,
        )


def _told(weights: object, mixing: str) -> list[float] | str:
    """Weights as a state tells them."""
    if weights is None:
        return "by length"
    if isinstance(weights, tuple) and len(weights) <= MOST_WEIGHTS_TOLD:
        return [round(weight / sum(weights), 6) for weight in weights]
    return f"with the digest {mixing}"


def _digest(value: Any) -> str:
    return blake2b(json.dumps(value).encode(), digest_size=4).hexdigest()
