"""What several datasets that are read as one were told, brought together; raises UsageError."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from millstream.errors import UsageError

T = TypeVar("T")


# What a mixture or a dataset of several is made of, as its error says it.
KINDS = "StreamingDataset, StreamingRawDataset or CombinedStreamingDataset"


def checked(datasets: Sequence[T], kinds: tuple[type, ...]) -> tuple[T, ...]:
    """A list of datasets of these kinds, which `KINDS` names, one at least."""
    if not isinstance(datasets, Sequence) or not datasets:
        raise UsageError(f"datasets is {datasets!r:.60}, expected a list of {KINDS}")
    for dataset in datasets:
        if not isinstance(dataset, kinds):
            raise UsageError(f"datasets holds a {type(dataset).__name__}, expected {KINDS}")
    return tuple(datasets)


def same(told: Sequence[bool | None]) -> bool | None:
    """What all of them say, if it is the same; else None."""
    return told[0] if len(set(told)) == 1 else None


def shuffled(number: int, told: bool | None, loader: bool | None) -> bool | None:
    """Whether one of the datasets is shuffled, as it was told, or else the loader."""
    if None not in (told, loader) and told != loader:
        raise UsageError(
            f"shuffle is {loader} for the loader and {told} for dataset {number}; give it to one "
            "only"
        )
    return loader if told is None else told


def drop_last(told: Sequence[bool | None]) -> bool | None:
    """What the datasets say of the end of an epoch."""
    said = {value for value in told if value is not None}
    if len(said) > 1:
        raise UsageError(
            "some datasets were told drop_last=True, others False, but together they have one end "
            "of an epoch: give it to the loader only"
        )
    return next(iter(said), None)
