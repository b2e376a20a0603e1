"""train_test_split(): several datasets over disjoint rows of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from numbers import Real
from typing import Literal, TypeVar

from millstream.errors import UsageError
from millstream.plan import Cut
from millstream.reading.dataset import stream_of, with_stream
from millstream.reading.indexed import Indexed

D = TypeVar("D", bound=Indexed)


def train_test_split(
    dataset: D,
    splits: Sequence[float],
    seed: int = 42,
    *,
    by: Literal["rows", "chunks"] = "rows",
) -> list[D]:
    """Datasets over disjoint parts of the rows of one: splits[0] of them, splits[1], and so on.

    Nothing is written: a part is a choice of rows, the same for the same version, splits and
    seed. With splits that sum to 1 every row is in one part; sizes are exact to a row. Everything
    else (shuffle, transform, fields, cache, the class) is as in the dataset that is given, which
    may be a part itself. With `subsample` above 1 a part has all copies of its rows; which rows
    the part of a copy holds, it chooses by itself.

    Args:
        dataset: A StreamingDataset or a StreamingRawDataset.
        splits: Positive numbers whose sum is at most 1.
        seed: Another one deals the rows out in another way.
        by: What is dealt out. "rows": each part is like the whole, even if the data is sorted, and
            every part reads nearly all chunks. "chunks": each part has chunks of its own, and
            shares at most two with others, so that of data that is far away only its own share
            is fetched; if the data is sorted, parts differ as chunks do.

    Returns:
        A dataset for each of `splits`, of the class of the one that is given.

    Raises:
        UsageError: An argument makes no sense, or a part would be empty.
    """
    if not isinstance(dataset, Indexed):
        raise UsageError(
            f"a {type(dataset).__name__} cannot be split, only a StreamingDataset or a "
            "StreamingRawDataset"
        )
    if (
        not isinstance(splits, list | tuple)
        or not splits
        or not all(isinstance(n, Real) for n in splits)
    ):
        raise UsageError(f"splits is {splits!r}, expected a list of numbers such as [0.8, 0.2]")
    if type(seed) is not int or by not in ("rows", "chunks"):
        raise UsageError(f'expected an integer seed, and by "rows" or "chunks"; got {seed=}, {by=}')
    stream = stream_of(dataset)
    parts = [
        with_stream(
            dataset,
            replace(stream, source=stream.source.again(), cuts=(*stream.cuts, cut)),
        )
        for cut in _cuts(tuple(map(float, splits)), seed, by_chunk=by == "chunks")
    ]
    for number, part in enumerate(parts):
        if not len(part):
            raise UsageError(
                f"splits[{number}] is {splits[number]}: of {len(dataset):,} samples that is none"
            )
    return parts


def _cuts(fractions: tuple[float, ...], seed: int, *, by_chunk: bool) -> list[Cut]:
    return [
        Cut(fractions=fractions, number=number, seed=seed, by_chunk=by_chunk)
        for number in range(len(fractions))
    ]
