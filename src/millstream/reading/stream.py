"""The rows that a dataset selects from a version, and the orders that they can have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property, partial
from typing import Any

import numpy as np

from millstream.errors import RowOutOfRange
from millstream.plan import (
    Cut,
    Epoch,
    Order,
    Plan,
    Selection,
    decoding_keys,
    decoding_keys_for_rows,
    default_lanes,
    default_window,
)
from millstream.plan import subsample as take_part
from millstream.reading.arguments import positive
from millstream.reading.reader import Rows
from millstream.reading.source import MakeKeys, Source


@dataclass(frozen=True, kw_only=True, eq=False)
class Stream:
    """A selection of a version's rows, and what decides their order.

    cuts: which part of the rows it is, after splits, one of the other. shuffle: what holds where
    nobody says otherwise. lanes, window: None for the default.
    cache_bytes: windows are planned so that those of all lanes, twice, fit half of it.
    """

    source: Source
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

    def keys_at(self, epoch: int, positions: Rows) -> MakeKeys:
        """Of what decoding draws for the samples at these positions of an epoch."""
        return partial(decoding_keys, self.seed, epoch, positions)

    def keys_in(self, plan: Plan, step: int, rank: int) -> MakeKeys:
        """The same for a rank's samples of a step."""
        return lambda: decoding_keys(self.seed, plan.epoch.number, plan.positions(step, rank))

    def keys_of_row(self, row: int) -> MakeKeys:
        """Of what decoding draws for a row that is read outside an epoch."""
        return lambda: decoding_keys_for_rows(self.seed, np.array([row], np.int64))

    def keys_of(self, rows: Rows) -> MakeKeys:
        """Of what decoding draws for rows that are read outside an epoch."""
        return partial(decoding_keys_for_rows, self.seed, rows)

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
    ) -> Order:
        """The order on so many ranks; what was left open is taken from saved settings.

        shuffle: None for what the dataset was told.
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
            bytes_per_row=self.source.manifest.nbytes / max(int(rows.sum()), 1),
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
