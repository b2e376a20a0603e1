"""The rows of several datasets as one feed, in the order of a mixture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, cast

import numpy as np

from millstream.errors import UsageError
from millstream.plan import (
    AnyEpoch,
    AnyOrder,
    Group,
    MixedEpoch,
    Mixture,
    Needs,
    default_lanes,
    shortened,
)
from millstream.reading.ahead import Ahead
from millstream.reading.arguments import positive
from millstream.reading.explained import ChunkCosts
from millstream.reading.feed import MakePositions
from millstream.reading.protocol import RowSource
from millstream.reading.reader import Empty, Rows
from millstream.reading.several import shuffled
from millstream.reading.stats import ReadStats, total
from millstream.reading.stream import Stream
from millstream.reading.together import Part, Together


@dataclass(frozen=True, kw_only=True, eq=False)
class MixedStream:
    """The streams of a mixture, and what decides its order.

    told: for each whether it is shuffled, None where nobody has said. Raises UsageError.
    """

    streams: tuple[Stream, ...]
    told: tuple[bool | None, ...]
    tree: Group
    seed: int
    per_stream: bool

    def __post_init__(self) -> None:
        lanes = {stream.lanes for stream in self.streams if stream.lanes}
        if len(lanes) > 1:
            raise UsageError(
                f"datasets with {sorted(lanes)} lanes cannot be combined: give all the same, or "
                "give none"
            )

    @property
    def version_digest(self) -> str:
        """Names the versions of the data."""
        return "+".join(shortened(stream.version_digest) for stream in self.streams)

    def order(
        self,
        ranks: int,
        saved: Mapping[str, Any] | None = None,
        *,
        shuffle: bool | None = None,
        batch_size: int | None = None,
    ) -> Mixture:
        """The order on so many ranks; settings that were left open are taken from `saved`.

        shuffle: for the datasets that were not told. batch_size: of a rank; UsageError without it
        if batches are of one dataset.
        """
        saved = saved or {}
        if self.per_stream and batch_size is None:
            raise UsageError(
                'batching_method="per_stream" needs batches: use a StreamingDataLoader, or '
                "batches(batch_size)"
            )
        shuffles = [bool(shuffled(n, told, shuffle)) for n, told in enumerate(self.told)]
        lanes = self._lanes(ranks, positive(saved.get("lanes")), shuffle=any(shuffles))
        windows = saved.get("windows")
        known = [*(windows if isinstance(windows, list) else ()), *[None] * len(self.streams)]
        sources = (
            stream.order(ranks, {"lanes": lanes, "window": window}, shuffle=shuffle)
            for stream, window, shuffle in zip(self.streams, known, shuffles, strict=False)
        )
        return Mixture(
            sources=tuple(sources),
            tree=self.tree,
            seed=self.seed,
            global_batch=ranks * batch_size if self.per_stream and batch_size else None,
        )

    def order_of(self, saved: object) -> Mixture:
        """The order whose settings a state tells, as far as it tells any."""
        known = saved if isinstance(saved, Mapping) else {}
        untold = [number for number, told in enumerate(self.told) if told is None]
        shuffle = known.get("shuffle")
        known_of = shuffle if isinstance(shuffle, list) and len(shuffle) == len(self.told) else None
        return self.order(
            1,
            known,
            shuffle=True if untold and known_of and known_of[untold[0]] else None,
            batch_size=positive(known.get("global_batch")) or 1,
        )

    def _lanes(self, ranks: int, saved: int | None, *, shuffle: bool) -> int:
        """The lanes of all datasets: as one of them was told, or as the largest would have."""
        told = next((stream.lanes for stream in self.streams if stream.lanes), None)
        chunks = max(len(stream.source.chunk_rows) for stream in self.streams)
        return told or saved or default_lanes(shuffle=shuffle, chunks=chunks, ranks=ranks)

    def read(
        self, epoch: AnyEpoch, rows: Rows, at: MakePositions, empty: Empty = np.empty
    ) -> Together:
        """Rows by their numbers in the mixture, read and verified.

        What decoding draws is keyed by the seed of each row's dataset, and its position in the
        mixture's epoch.
        """
        shares = list(self.shares_of(rows))
        if len(shares) > 1 and not self.are_alike:
            raise UsageError(
                f"samples that are not alike have no batch: {self._told_fields()}. Give the same "
                'fields=, or batching_method="per_stream"'
            )
        if len(shares) > 1:
            shares, empty = [share.by_row() for share in shares], np.empty
        return Together([self._part(share, epoch, at, empty) for share in shares])

    def _part(self, share: Share, epoch: AnyEpoch, at: MakePositions, empty: Empty) -> Part:
        stream = self.streams[share.stream]
        read = stream.read(epoch, share.rows, lambda: at()[share.here], empty)
        return Part(read, share.here, share.numbered(read.taken))

    def shares_of(self, rows: Rows) -> Iterator[Share]:
        """The rows of each stream of which there are any."""
        source = np.searchsorted(self._first_rows[1:], rows, side="right")
        for number in np.unique(source).tolist():
            here, first = np.flatnonzero(source == number), int(self._first_rows[number])
            yield Share(stream=number, here=here, rows=rows[here] - first, first=first)

    @cached_property
    def _first_rows(self) -> Rows:
        rows = [int(stream.source.chunk_rows.sum()) for stream in self.streams]
        return np.cumsum([0, *rows], dtype=np.int64)

    @cached_property
    def are_alike(self) -> bool:
        """Whether the samples of all have the same fields."""
        alike = {_signature(stream.source) for stream in self.streams}
        return len(alike) == 1

    def _told_fields(self) -> str:
        """The fields of each dataset, for messages."""
        sources = enumerate(stream.source for stream in self.streams)
        return "; ".join(
            f"dataset {number} has {{{', '.join(f'{f.name}: {f}' for f in source.fields)}}}"
            for number, source in sources
        )

    def ahead(
        self, order: AnyOrder, epoch: int, start: int, *, rank: int, ranks: int, among: int = 1
    ) -> AllAhead:
        """Has fetched what a rank needs of each dataset, in the order of the mixture."""
        mixture = cast(Mixture, order)  # which `order` made
        among *= len(self.streams)
        return AllAhead(
            Ahead(
                stream.source,
                _OneSource(mixture, number),
                epoch,
                start,
                rank=rank,
                ranks=ranks,
                among=among,
            )
            for number, stream in enumerate(self.streams)
        )

    def costs(self, epoch: AnyEpoch, rank: int, ranks: int) -> Iterator[ChunkCosts]:
        """The chunks that a rank needs in an epoch, of each dataset."""
        ours = cast(MixedEpoch, epoch)  # of an order that `order` made
        for number, stream in enumerate(self.streams):
            yield stream.costed(ours.needs(number, rank, ranks))

    @property
    def is_near(self) -> bool:
        """Whether all of it is read where it lies."""
        return all(stream.is_near for stream in self.streams)

    @property
    def stats(self) -> ReadStats:
        """What this process has read of data that is far away, whole chunks not counted."""
        return total(stream.stats for stream in self.streams)

    def fetched(self) -> ReadStats:
        """The whole chunks that this process and its workers had fetched, from all places."""
        places = {str(stream.source.place): stream for stream in self.streams}
        return total(stream.fetched() for stream in places.values())


def sharing(streams: Sequence[Stream]) -> tuple[Stream, ...]:
    """The same streams, each with its part of the cache: the windows of all are in it at once."""
    return tuple(replace(s, cache_bytes=s.cache_bytes // len(streams)) for s in streams)


def _signature(source: RowSource) -> tuple[Any, ...]:
    """What two sources share whose columns can be put together."""
    return source.tree, *((field.kind, field.dtype) for field in source.fields)


class AllAhead:
    """What goes ahead of several streams."""

    def __init__(self, streams: Iterator[Ahead]) -> None:
        self._streams = list(streams)

    def passed(self, position: int) -> None:
        """All positions of the epoch before this one were read."""
        for stream in self._streams:
            stream.passed(position)


@dataclass(frozen=True, slots=True)
class _OneSource:
    """The order of a mixture for who fetches one of its sources."""

    mixture: Mixture
    source: int

    @property
    def length(self) -> int:
        return self.mixture.length

    @property
    def chunk_rows(self) -> Rows:
        return self.mixture.sources[self.source].chunk_rows

    def epoch(self, number: int) -> _OneSourceEpoch:
        return _OneSourceEpoch(self.mixture.epoch(number), self.source)


@dataclass(frozen=True, slots=True)
class _OneSourceEpoch:
    mixed: MixedEpoch
    source: int

    @property
    def length(self) -> int:
        return self.mixed.length

    def needs(self, rank: int, ranks: int) -> Needs:
        return self.mixed.needs(self.source, rank, ranks)

    def rows(self, positions: Rows) -> Rows:
        first, end = self.mixed.mixture.first_rows[self.source : self.source + 2]
        rows = self.mixed.rows(positions)
        return np.where((rows >= first) & (rows < end), rows - first, -1)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Share:
    """Rows of one stream.

    here: where they are among the rows of the mixture. rows: their numbers in the stream's version.
    first: the mixture's number of row 0 there.
    """

    stream: int
    here: Rows
    rows: Rows
    first: int

    def by_row(self) -> Share:
        """The same, sorted by row: then each chunk is read straight to where its rows go."""
        order = self.rows.argsort(kind="stable")
        return replace(self, here=self.here[order], rows=self.rows[order])

    def numbered(self, taken: Rows) -> Rows:
        """The mixture's numbers of rows that were read; -1 stays, where nothing was."""
        return np.where(taken < 0, -1, taken + self.first)
