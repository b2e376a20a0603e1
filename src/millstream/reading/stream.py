"""The rows that a dataset selects from a version, and the orders that they can have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, cast

import numpy as np

from millstream.errors import RowOutOfRange, UnsupportedError
from millstream.plan import (
    AnyEpoch,
    AnyOrder,
    Cut,
    Epoch,
    Needs,
    Order,
    Selection,
    decoding_keys,
    decoding_keys_for_rows,
    default_lanes,
    default_window,
)
from millstream.plan import subsample as take_part
from millstream.reading.ahead import Ahead, Needing
from millstream.reading.arguments import positive
from millstream.reading.explained import ChunkCosts
from millstream.reading.feed import MakePositions
from millstream.reading.protocol import ReadRows, RowSource
from millstream.reading.reader import Empty, Rows
from millstream.reading.stats import ReadStats


@dataclass(frozen=True, kw_only=True, eq=False)
class Stream:
    """A selection of a version's rows, and what decides their order.

    cuts: which part of the rows it is, after splits, one of the other. shuffle: what holds where
    nobody says otherwise. lanes, window: None for the default.
    cache_bytes: windows are planned so that those of all lanes, twice, fit half of it.
    """

    source: RowSource
    seed: int
    subsample: float
    shuffle: bool
    lanes: int | None
    window: int | None
    cache_bytes: int
    cuts: tuple[Cut, ...] = ()

    def __getstate__(self) -> dict[str, Any]:
        """What travels: what follows from it is made anew there."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @cached_property
    def selection(self) -> Selection:
        """The rows that are read."""
        chosen = Selection.whole(self.source.chunk_rows)
        if self.subsample < 1:
            chosen = take_part(chosen, self.subsample, seed=self.seed)
        for cut in self.cuts:
            chosen = cut.of(chosen)
        # Copies come last: a part has all copies of its rows.
        if self.subsample > 1:
            chosen = take_part(chosen, self.subsample, seed=self.seed)
        return chosen

    @property
    def _is_whole(self) -> bool:
        return self.subsample == 1.0 and not self.cuts

    @cached_property
    def length(self) -> int:
        """How many rows are selected, each as often as it is."""
        return self._indexed.length

    @cached_property
    def _indexed(self) -> Epoch:
        """What an index into the dataset means."""
        return self._make_order(shuffle=False, lanes=1, window=1).epoch(0)

    def rows_at(self, indices: Rows) -> Rows:
        """Row numbers of the version from indices; negative ones count back; RowOutOfRange."""
        outside = (indices < -self.length) | (indices >= self.length)
        if outside.any():
            raise RowOutOfRange(
                f"index {int(indices[outside][0])} is outside a dataset of {self.length:,} samples"
            )
        positions = np.where(indices < 0, indices + self.length, indices)
        return positions if self._is_whole else self._indexed.rows(positions)

    def row_at(self, index: int) -> int:
        """The same of one index."""
        length = self.length
        if self._is_whole and -length <= index < length:
            return index if index >= 0 else index + length
        return int(self.rows_at(np.array([index], np.int64))[0])

    def indices_of(self, rows: Rows) -> list[int]:
        """An index for each row number of the version."""
        which, positions = self._indexed.positions(rows)
        found = dict(zip(which.tolist()[::-1], positions.tolist()[::-1], strict=True))
        return [found[index] for index in range(len(rows))]

    def read(
        self, epoch: AnyEpoch, rows: Rows, at: MakePositions, empty: Empty = np.empty
    ) -> ReadRows:
        """Rows by their numbers in the version, read and verified.

        What decoding draws is keyed by this stream's seed, and the positions in the epoch.
        """
        return self.source.read(rows, lambda: decoding_keys(self.seed, epoch.number, at()), empty)

    def pick(self, rows: Rows) -> ReadRows:
        """The same outside an epoch, for a row here and there; keyed by the rows."""
        return self.source.pick(rows, lambda: decoding_keys_for_rows(self.seed, rows))

    def sample(self, row: int) -> Any:
        """One sample outside an epoch, by the number of a row that the version has."""
        return self.source.sample(
            row, lambda: decoding_keys_for_rows(self.seed, np.array([row], np.int64))
        )

    def ahead(
        self, order: AnyOrder, epoch: int, start: int, *, rank: int, ranks: int, among: int = 1
    ) -> Ahead:
        """Has fetched what a rank needs of an order of these rows, from a position on."""
        needing = cast(Needing, order)  # which `order` made
        return Ahead(self.source, needing, epoch, start, rank=rank, ranks=ranks, among=among)

    def costs(self, epoch: AnyEpoch, rank: int, ranks: int) -> Iterator[ChunkCosts]:
        """The chunks that a rank needs in an epoch."""
        ours = cast(Epoch, epoch)  # of an order that `order` made
        yield self.costed(ours.needs(rank, ranks))

    def costed(self, needs: Needs) -> ChunkCosts:
        """What is needed, with the bytes of all chunks; raises UnsupportedError."""
        if (sizes := self.source.chunk_bytes) is None:
            raise UnsupportedError(
                "explain() counts chunks, and files as they are lie in none. What else a plan says "
                "is the same for these; to have chunks, write the files with optimize()"
            )
        return ChunkCosts(needs=needs, sizes=sizes)

    @property
    def is_near(self) -> bool:
        """Whether all of it is read where it lies."""
        return self.source.is_near

    @property
    def stats(self) -> ReadStats:
        """What this process has read of data that is far away, whole chunks not counted."""
        return self.source.stats

    def fetched(self) -> ReadStats:
        """The whole chunks that this process and its workers had fetched."""
        return self.source.fetched()

    @property
    def version_digest(self) -> str:
        """BLAKE3 of the version's manifest, in hex: what a saved state names."""
        return self.source.digest

    def order(
        self,
        ranks: int,
        saved: Mapping[str, Any] | None = None,
        *,
        shuffle: bool | None = None,
        batch_size: int | None = None,
    ) -> Order:
        """The order on so many ranks; what was left open is taken from saved settings.

        shuffle: None for what the dataset was told. batch_size: changes nothing.
        """
        saved = saved or {}
        shuffled = self.shuffle if shuffle is None else shuffle
        chunks = len(self.source.chunk_rows)
        lanes = self.lanes or positive(saved.get("lanes"))
        lanes = lanes or default_lanes(shuffle=shuffled, chunks=chunks, ranks=ranks)
        window = self.window or positive(saved.get("window"))
        return self._make_order(shuffled, lanes, window or self._default_window(lanes))

    def _default_window(self, lanes: int) -> int:
        rows = self.source.chunk_rows
        return default_window(
            chunk_rows=rows,
            lanes=lanes,
            bytes_per_row=self.source.nbytes / max(int(rows.sum()), 1),
            budget_bytes=self.cache_bytes,
        )

    def _make_order(self, shuffle: bool, lanes: int, window: int) -> Order:
        return Order(
            chunk_rows=self.source.chunk_rows,
            selection=self.selection,
            seed=self.seed,
            shuffle=shuffle,
            window=window,
            lanes=lanes,
            block_size=self.source.block_size,
        )
