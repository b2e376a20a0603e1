"""CombinedStreamingDataset: samples of several datasets, mixed in exact proportions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from textwrap import indent
from typing import Any

from millstream.errors import UsageError
from millstream.plan import AnyEpoch, Curriculum, Group, Mixture, as_weights, restore
from millstream.reading.dataset import stream_of
from millstream.reading.indexed import Indexed
from millstream.reading.mixed import MixedStream, sharing
from millstream.reading.reader import Rows
from millstream.reading.several import checked, drop_last, same
from millstream.reading.streamed import Samples, Streamed, interleaved, is_plain, samples_at

BATCHING_METHODS = ("stratified", "per_stream")


class CombinedStreamingDataset(Streamed):
    """A mixture of datasets, as one that is streamed.

    Which dataset a sample is of follows from the seed, the weights and the position alone: the same
    on all ranks and workers, resumed exactly, with any other number of these. Each dataset comes in
    its own order, with its own transform and decoding; what a transform's `rng` and a JpegDecode
    draw is keyed by the dataset's seed, the epoch, and the position in the mixture.

    A row of the mixture, in `plan()`, is a row of one of its datasets: those of the first dataset
    come first, then those of the second, and so on.

    Args:
        datasets: StreamingDatasets or StreamingRawDatasets, or other mixtures, which are mixed
            within their own weights.
        seed: Of the mixture; those of the datasets are their own.
        weights: How often each dataset is drawn, in any unit; None: by their lengths. Or a
            function from the position in the epoch (over all ranks) to such weights: it is asked
            every few thousand positions, and must give the same for the same position. After 256
            draws of a lane, and each 256 after, every dataset has its share, to a sample.
        iterate_over_all: Whether an epoch goes on until all datasets have ended, each sample once,
            and the weights of those that have ended shared out; or ends with the first one.
        batching_method: "stratified": each sample is drawn. "per_stream": each batch, over all
            ranks, is of one dataset; of a dataset what does not fill such a batch is left out, and
            a state can be loaded only where batch_size times ranks is the same.

    Raises:
        UsageError: For arguments that make no sense, or datasets told to have different lanes.
    """

    def __init__(
        self,
        datasets: Sequence[Indexed | CombinedStreamingDataset],
        seed: int = 42,
        weights: Sequence[float] | Curriculum | None = None,
        iterate_over_all: bool = True,
        batching_method: str = "stratified",
    ) -> None:
        self.datasets = checked(datasets, (Indexed, CombinedStreamingDataset))
        if type(seed) is not int:
            raise UsageError(f"seed is {seed!r}, expected an integer")
        if batching_method not in BATCHING_METHODS:
            raise UsageError(
                f"batching_method is {batching_method!r}, expected one of {BATCHING_METHODS}"
            )
        self.seed, self.batching_method = seed, batching_method
        self.weights = as_weights(weights, len(self.datasets))
        self.iterate_over_all = iterate_over_all
        self._leaves = tuple(_leaves(self.datasets))
        self.shuffle = same([leaf.shuffle for leaf in self._leaves])
        self.drop_last = drop_last([leaf.drop_last for leaf in self._leaves])
        self._feed_of_all = MixedStream(
            streams=sharing([stream_of(leaf) for leaf in self._leaves]),
            told=tuple(leaf.shuffle for leaf in self._leaves),
            tree=_tree(self, 0),
            seed=seed,
            per_stream=batching_method == "per_stream",
        )
        super().__init__()

    @property
    def _feed(self) -> MixedStream:
        return self._feed_of_all

    @property
    def _is_plain(self) -> bool:
        feed = self._feed
        return all(map(is_plain, self._leaves)) and (feed.per_stream or feed.are_alike)

    def _samples_at(self, epoch: AnyEpoch, positions: Rows, rows: Rows) -> Samples:
        parts = []
        for share in self._feed.shares_of(rows):
            leaf = self._leaves[share.stream]
            own = samples_at(leaf, epoch, positions[share.here], share.rows)
            parts.append((share.here, own._replace(taken=share.numbered(own.taken))))
        return interleaved(len(rows), parts)

    def __len__(self) -> int:
        """The samples of an epoch, over all ranks.

        With iterate_over_all=False it depends on the number of lanes, but for less than their
        number; with "per_stream" batches give fewer, and `len` of a loader says how many.
        """
        return self._whole.length

    @cached_property
    def _whole(self) -> Mixture:
        """The mixture of samples on one rank."""
        return replace(self._feed, per_stream=False).order(1)

    def counts(self, state: Mapping[str, Any] | None = None) -> list[int]:
        """How many samples of each dataset, nested ones one by one, a whole epoch has.

        Args:
            state: Of a loader, or of `batches()`: how many were delivered in the epoch that it is
                in.

        Raises:
            StateMismatch: The state is another's.
        """
        if state is None:
            return list(self._whole.used)
        mixture = self._feed.order_of(state.get("order"))
        cursor = restore(state, mixture.settings(), self._feed.version_digest)
        return mixture.epoch(cursor.epoch).counts(cursor.position)

    def __repr__(self) -> str:
        parts = indent("".join(f"\n{dataset!r}," for dataset in self.datasets), "  ")
        return (
            f"{type(self).__name__}({len(self):,} samples, {self.batching_method}, weights "
            f"{_told(self.weights)}:{parts}\n)"
        )


def _told(weights: tuple[float, ...] | Curriculum | None) -> str:
    if weights is None:
        return "by length"
    return "by position" if callable(weights) else str(weights)


def _leaves(
    datasets: Sequence[Indexed | CombinedStreamingDataset],
) -> Iterator[Indexed]:
    for dataset in datasets:
        if isinstance(dataset, CombinedStreamingDataset):
            yield from dataset._leaves
        else:
            yield dataset


def _tree(combined: CombinedStreamingDataset, first: int) -> Group:
    """The groups of a mixture; its datasets are numbered from `first` on."""
    members: list[int | Group] = []
    for dataset in combined.datasets:
        if not isinstance(dataset, CombinedStreamingDataset):
            members.append(first)
            first += 1
            continue
        if dataset.batching_method != combined.batching_method:
            raise UsageError(
                f"a mixture with batching_method {dataset.batching_method!r} inside of one with "
                f"{combined.batching_method!r}; give both the same"
            )
        members.append(_tree(dataset, first))
        first += len(dataset._leaves)
    return Group(
        members=tuple(members), weights=combined.weights, until_all=combined.iterate_over_all
    )
