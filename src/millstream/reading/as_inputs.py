"""Datasets and loaders as the inputs of `map` and `optimize`.

What travels is a number; the worker that gets it reads the sample, or makes the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from millstream.errors import UsageError
from millstream.plan import Plan
from millstream.reading.dataset import stream_of
from millstream.reading.indexed import Indexed
from millstream.reading.run import Shape
from millstream.reading.streamed import samples_at

# The numbers, and what makes the inputs of them.
Numbered = tuple[Sequence[int], Callable[[Any], Any]]


@dataclass(frozen=True, kw_only=True)
class SampleAt:
    """The samples of a dataset by their indices. rows: says which they are, for who compares."""

    dataset: Indexed
    rows: str

    def __call__(self, index: Any) -> Any:
        return self.dataset[index]


@dataclass(frozen=True, kw_only=True)
class BatchAt:
    """The batches of a loader's first epoch, of all ranks together, by their steps."""

    dataset: Indexed
    rows: str
    shape: Shape
    shuffle: bool | None
    collate: Callable[[list[Any]], Any]

    @cached_property
    def plan(self) -> Plan:
        """That of the epoch."""
        return Plan(
            epoch=stream_of(self.dataset).order(1, shuffle=self.shuffle).epoch(0),
            batch_size=self.shape.batch_size,
            ranks=1,
            drop_last=self.shape.drop_last,
        )

    def __call__(self, step: Any) -> Any:
        if isinstance(step, list):
            return [self(one) for one in step]
        positions = self.plan.positions(step, 0)
        epoch = self.plan.epoch
        found = samples_at(self.dataset, epoch, positions, epoch.rows(positions))
        return self.collate(list(found.samples))


def samples_as_inputs(dataset: Indexed) -> Numbered:
    """Every sample, by its index."""
    return range(len(dataset)), SampleAt(dataset=dataset, rows=_rows(dataset))


def batches_as_inputs(
    dataset: object,
    shape: Shape,
    shuffle: bool | None,
    collate: Callable[[list[Any]], Any],
) -> Numbered:
    """Every batch of the first epoch, by its step; UsageError if it is of several datasets."""
    if not isinstance(dataset, Indexed):
        raise UsageError(
            f"inputs is a loader of a {type(dataset).__name__}, expected one of a StreamingDataset "
            "or a StreamingRawDataset; give each of the datasets to a call of its own"
        )
    batches = BatchAt(
        dataset=dataset, rows=_rows(dataset), shape=shape, shuffle=shuffle, collate=collate
    )
    return range(batches.plan.steps), batches


def _rows(dataset: Indexed) -> str:
    stream = stream_of(dataset)
    names = [field.name for field in stream.source.fields]
    rows = f"{stream.version_digest} {stream.selection.digest()} {stream.source.block_size}"
    return f"{rows} {dataset.seed} {names}"
