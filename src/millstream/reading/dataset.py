"""StreamingDataset: a finished dataset as a sequence of samples, or as a stream in order."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from millstream import interop
from millstream.errors import RowOutOfRange
from millstream.plan import (
    Order,
    Plan,
    Selection,
    default_lanes,
    default_window,
    generator,
    generator_for_row,
)
from millstream.plan import subsample as take_part
from millstream.reading.arguments import as_indices, as_names, check_order, positive
from millstream.reading.batches import Batches
from millstream.reading.decoding import Decode
from millstream.reading.reader import Rows
from millstream.reading.run import Shape, check_rank, drops_last
from millstream.reading.source import Reading, Source
from millstream.reading.transforms import MakeRng, Transform, Transforms
from millstream.store import open_place

# The rows that plain iteration reads at a time.
BLOCK_ROWS = 64
# Windows are planned so that those of all lanes, twice, would fit half of this in a cache.
CACHE_BYTES = 100_000_000_000


class StreamingDataset:
    """The samples of a dataset that `optimize` wrote.

    Indexing is random access: `ds[3]`, `ds[-1]`, `ds[10:20]`, `ds[[5, 2]]`. Iterating gives this
    process's share of the next epoch's order: over the ranks of a distributed run, and over the
    workers of a torch DataLoader. Subclasses may override `__getitem__`; iteration and slices
    then go through it.

    Args:
        input_dir: The dataset's folder.
        shuffle: Whether iteration is shuffled. None: not, unless a StreamingDataLoader says so.
        drop_last: Whether the part of an epoch that does not fill a batch on every rank is left
            out. None: if there is more than one rank.
        seed: Of the order, of `subsample`, and of the generators that transforms get.
        subsample: The part of the rows to use: 0.01 for one in a hundred, 2.5 for two copies
            and a half. The same rows for the same seed.
        transform: A function of a sample, or a list of them. One that has a parameter `rng` gets
            a numpy.random.Generator keyed by (seed, epoch, position), or by (seed, row) when
            indexed: the same whoever runs it.
        decode: By field name, what a field becomes: "numpy", "torch", "pil", "bytes", or a
            function of the stored bytes. Images as "numpy" are uint8 (height, width, channels),
            as "torch" (channels, height, width); by default they are PIL images.
        fields: The names of the fields to read, for samples of these fields only; None for all.
            A container's name, `"meta"` of `{"meta": {...}}`, stands for all fields in it.
        version: The number of the version to read; None for the newest.
        lanes: How many strands the order has. None: one unshuffled; shuffled 16, or as many as
            there are chunks if fewer, or as there are ranks if more.
        shuffle_window: Rows of a lane that are shuffled together. None: the larger of 65,536
            and 8 mean chunks.
        allow_pickle: Whether fields written with `allow_pickle=True` may be read. Unpickling can
            run any code: only for data that one trusts.
        verify: Whether checksums are compared on the way.

    Raises:
        DatasetNotFound, CorruptData, UnsupportedError: For what lies at `input_dir`.
        UsageError: For arguments that make no sense.
    """

    def __init__(
        self,
        input_dir: str | os.PathLike[str],
        *,
        shuffle: bool | None = None,
        drop_last: bool | None = None,
        seed: int = 42,
        subsample: float = 1.0,
        transform: Transform | Sequence[Transform] | None = None,
        decode: Mapping[str, Decode] | None = None,
        fields: Sequence[str] | None = None,
        version: int | None = None,
        lanes: int | None = None,
        shuffle_window: int | None = None,
        allow_pickle: bool = False,
        verify: bool = True,
    ) -> None:
        check_order(seed, lanes, shuffle_window)
        self.shuffle, self.drop_last, self.seed = shuffle, drop_last, seed
        self._lanes, self._window = lanes, shuffle_window
        self._transforms = Transforms(transform)
        reading = Reading(
            fields=None if fields is None else as_names(fields),
            decode=dict(decode or {}),
            allow_pickle=allow_pickle,
            verify=verify,
        )
        self._source = Source(open_place(input_dir), version, reading)
        whole = Selection.whole(self._source.chunk_rows)
        self._whole = subsample == 1.0
        self._selection = whole if self._whole else take_part(whole, subsample, seed=seed)
        self._indexed = self._make_order(shuffle=False, lanes=1, window=1).epoch(0)
        self._epoch = 0
        self._ranks: tuple[int, int] | None = None  # those of the process that pickled this
        self._register()

    def _register(self) -> None:
        """With torch in the process, isinstance(self, IterableDataset) holds."""
        if (torch := interop.loaded_torch()) is not None:
            torch.register_iterable(StreamingDataset)

    def __getstate__(self) -> dict[str, Any]:
        torch = interop.loaded_torch()
        ranks = self._ranks if torch is None else torch.ranks()
        return {**self.__dict__, "_ranks": ranks}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._register()

    # As a sequence --------------------------------------------------------------------------

    def __len__(self) -> int:
        """The number of samples, over all ranks."""
        return self._indexed.length

    def __getitem__(self, index: Any) -> Any:
        """A sample for an integer, a list of samples for a slice or a list of integers."""
        if isinstance(index, slice):
            return self._several(np.arange(*index.indices(len(self)), dtype=np.int64))
        if isinstance(index, int | np.integer) and not isinstance(index, bool):
            row = self._rows(np.array([index], np.int64))
            sample = next(self._source.read(row).samples())
            return self._transforms(sample, self._row_rng(int(row[0])))
        return self._several(as_indices(index))

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Many samples at once, as torch's fetchers ask for them."""
        return self._several(as_indices(indices))

    def _several(self, indices: Rows) -> list[Any]:
        if self._is_overridden():
            return [self[index] for index in indices.tolist()]
        rows = self._rows(indices)
        return [
            self._transforms(sample, self._row_rng(row))
            for row, sample in zip(rows.tolist(), self._source.read(rows).samples(), strict=True)
        ]

    def _is_overridden(self) -> bool:
        return type(self).__getitem__ is not StreamingDataset.__getitem__

    def _rows(self, indices: Rows) -> Rows:
        """Row numbers in the version from indices into this dataset; negative ones count back."""
        count = len(self)
        outside = (indices < -count) | (indices >= count)
        if outside.any():
            raise RowOutOfRange(
                f"index {int(indices[outside][0])} is outside a dataset of {count:,} samples"
            )
        positions = np.where(indices < 0, indices + count, indices)
        return positions if self._whole else self._indexed.rows(positions)

    def _row_rng(self, row: int) -> MakeRng:
        return lambda: generator_for_row(self.seed, row)

    # As a stream ----------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Any]:
        """This process's share of the next epoch, in order."""
        torch = interop.loaded_torch()
        share = Alone() if torch is None else torch.share(self._ranks)
        self._epoch += 1
        return self._stream(share, self._epoch - 1)

    def _stream(self, share: interop.Share, epoch: int) -> Iterator[Any]:
        drops = drops_last(self.drop_last, share.ranks)
        whole = len(self) - (len(self) % share.ranks if drops else 0)
        mine = range(share.rank, whole, share.ranks)[share.worker :: share.workers]
        order = self.order(share.ranks).epoch(epoch)
        for start in range(0, len(mine), BLOCK_ROWS):
            block = mine[start : start + BLOCK_ROWS]
            positions = np.arange(block.start, block.stop, block.step, dtype=np.int64)
            yield from self.samples_at(epoch, positions, order.rows(positions))[0]

    def set_epoch(self, epoch: int) -> None:
        """The next `iter` gives this epoch.

        The workers of a plain torch DataLoader get a copy of the dataset for each epoch: there
        this has to be called before each, or every epoch has the order of the first.
        """
        self._epoch = epoch

    def samples_at(self, epoch: int, positions: Rows, rows: Rows) -> tuple[Iterator[Any], Rows]:
        """The samples of rows (numbers in the version), which have these positions in an epoch.

        And which rows they really are: as the reader took them from the chunks, or, where a
        `__getitem__` is overridden, those that it was called for.
        """
        if self._is_overridden():
            return (self[index] for index in self._indices_of(rows)), rows
        read = self._source.read(rows)
        pairs = zip(positions.tolist(), read.samples(), strict=True)
        apply, rng = self._transforms, self._position_rng
        return (apply(sample, rng(epoch, position)) for position, sample in pairs), read.taken

    def _indices_of(self, rows: Rows) -> list[int]:
        """An index into this dataset for each row of the version, for an overridden method."""
        which, positions = self._indexed.positions(rows)
        found = dict(zip(which.tolist()[::-1], positions.tolist()[::-1], strict=True))
        return [found[index] for index in range(len(rows))]

    def _position_rng(self, epoch: int, position: int) -> MakeRng:
        return lambda: generator(self.seed, epoch, position)

    @property
    def is_plain(self) -> bool:
        """Whether samples are as they are stored: no transform, no overridden __getitem__."""
        return not self._transforms and not self._is_overridden()

    @property
    def source(self) -> Source:
        """The opened version that samples come from."""
        return self._source

    # Its order ------------------------------------------------------------------------------

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
        chunks = len(self._source.chunk_rows)
        shuffle = bool(self.shuffle if shuffle is None else shuffle)
        lanes = self._lanes or positive(saved.get("lanes"))
        lanes = lanes or default_lanes(shuffle=shuffle, chunks=chunks, ranks=ranks)
        window = self._window or positive(saved.get("window"))
        return self._make_order(shuffle, lanes, window or self._default_window(lanes))

    def _default_window(self, lanes: int) -> int:
        manifest = self._source.manifest
        return default_window(
            chunk_rows=self._source.chunk_rows,
            lanes=lanes,
            bytes_per_row=manifest.nbytes / max(manifest.rows, 1),
            budget_bytes=CACHE_BYTES,
        )

    def _make_order(self, shuffle: bool, lanes: int, window: int) -> Order:
        return Order(
            chunk_rows=self._source.chunk_rows,
            selection=self._selection,
            seed=self.seed,
            shuffle=shuffle,
            window=window,
            lanes=lanes,
        )

    def plan(self, *, batch_size: int, ranks: int = 1, epoch: int = 0) -> Plan:
        """Who reads what when in an epoch: `.batch(step, rank)` gives row numbers, `.when(row)`
        the places of a row."""
        return Plan(
            epoch=self.order(ranks).epoch(epoch),
            batch_size=batch_size,
            ranks=ranks,
            drop_last=drops_last(self.drop_last, ranks),
        )

    def batches(
        self, batch_size: int, *, rank: int = 0, ranks: int = 1, drop_last: bool | None = None
    ) -> Batches:
        """Epochs of numpy batches, without torch: the structure of a sample around arrays
        (batch, *shape), or lists where rows differ in shape or are no arrays.

        Transforms are not applied: they are functions of one sample.
        """
        check_rank(rank, ranks)
        drops = self.drop_last if drop_last is None else drop_last
        shape = Shape(batch_size=batch_size, ranks=ranks, drop_last=drops_last(drops, ranks))
        return Batches(self, self._source, shape, rank)

    @property
    def version_digest(self) -> str:
        """BLAKE3 of the version's manifest, in hex: what a saved state names."""
        return self._source.digest

    def __repr__(self) -> str:
        manifest = self._source.manifest
        fields = ", ".join(f"{field.name}: {field}" for field in self._source.fields)
        return (
            f"{type(self).__name__}({str(self._source.store)!r}, {len(self):,} samples, "
            f"{manifest.nbytes / 1e6:,.1f} MB in {len(manifest.chunks):,} chunks, "
            f"version {manifest.version}, fields {{{fields}}})"
        )


class Alone:
    """The share of a process without torch: everything."""

    rank = worker = 0
    ranks = workers = 1
