"""The arguments of a loader: which make sense, and which do nothing."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

from millstream.errors import UsageError
from millstream.reading.run import check_rank
from millstream.reading.streamed import Streamed
from millstream.torch.timing import Trace
from millstream.torch.topology import CALLER, Ranks, find_ranks


def refuse_samplers(sampler: object, batch_sampler: object) -> None:
    """Raises UsageError for samplers."""
    for name, given in (("sampler", sampler), ("batch_sampler", batch_sampler)):
        if given is not None:
            raise UsageError(
                f"{name} is not for a StreamingDataLoader, whose dataset has an order of its own: "
                "use shuffle=, seed=, subsample=, or index the dataset in a plain DataLoader"
            )


def check(
    dataset: object,
    batch_size: object,
    num_workers: object,
    prefetch_factor: object,
    persistent_workers: object,
    timeout: float,
) -> None:
    """Raises UsageError for values that make no sense."""
    if not isinstance(dataset, Streamed):
        raise UsageError(
            f"dataset is a {type(dataset).__name__}, expected a StreamingDataset, or a combined or "
            "a parallel one; others are for torch.utils.data.DataLoader"
        )
    if type(batch_size) is not int or batch_size < 1:
        raise UsageError(f"batch_size is {batch_size!r}, expected a number from 1")
    if type(num_workers) is not int or num_workers < 0:
        raise UsageError(f"num_workers is {num_workers!r}, expected a number from 0")
    if timeout < 0:
        raise UsageError(f"timeout is {timeout!r}, expected seconds, or 0 for any time")
    if prefetch_factor is not None and (type(prefetch_factor) is not int or prefetch_factor < 1):
        raise UsageError(f"prefetch_factor is {prefetch_factor!r}, expected a number from 1")
    if not num_workers and (prefetch_factor is not None or persistent_workers):
        raise UsageError("prefetch_factor and persistent_workers are for num_workers from 1")


def are_threads(workers: object) -> bool:
    """Whether these workers are threads."""
    if workers not in ("processes", "threads"):
        raise UsageError(f"workers is {workers!r}, expected 'processes' or 'threads'")
    return workers == "threads"


def check_replay(replay: object) -> None:
    """Raises UsageError for a number of batches that makes no sense."""
    _check_number("replay", replay, 1)


def trace_of(batches: object, skip: object, folder: str | os.PathLike[str] | None) -> Trace | None:
    """The trace that is asked for, if any; UsageError for numbers that make no sense."""
    count = _check_number("profile_batches", batches, 1)
    skipped = _check_number("profile_skip_batches", skip, 0) or 0
    return None if count is None else Trace(Path(folder or "."), skipped, count)


def _check_number(name: str, value: object, least: int) -> int | None:
    if value is None or (type(value) is int and value >= least):
        return value
    raise UsageError(f"{name} is {value!r}, expected a number from {least}")


def warn_of_what_does_nothing(multiprocessing_context: object, in_order: bool) -> None:
    """Warns of arguments without effect."""
    if multiprocessing_context is not None:
        warnings.warn(
            "multiprocessing_context changes nothing: workers are started by exec, never forked",
            stacklevel=3,
        )
    if not in_order:
        warnings.warn("in_order=False changes nothing: batches come in order", stacklevel=3)


def agreed(name: str, dataset: bool | None, loader: bool | None) -> bool | None:
    """The one value that is given, None for none; UsageError if there are two that differ."""
    if None not in (dataset, loader) and dataset != loader:
        raise UsageError(
            f"{name} is {loader} for the loader and {dataset} for its dataset; give it to one only"
        )
    return dataset if loader is None else loader


def padding_of(pad: object) -> tuple[bool, str | None]:
    """Whether to pad, and the name of the field that marks it, if any; raises UsageError."""
    if isinstance(pad, str) and pad:
        return True, pad
    if isinstance(pad, bool):
        return pad, None
    raise UsageError(f"pad is {pad!r}, expected True, False, or the name of a field that marks it")


def rank_of(rank: int | None, ranks: int | None) -> Ranks:
    """The rank that is given, or found; UsageError for half of one."""
    if (rank is None) != (ranks is None):
        raise UsageError("give both rank and ranks, or neither")
    if rank is None or ranks is None:
        return find_ranks()
    check_rank(rank, ranks)
    return Ranks(rank=rank, ranks=ranks, source=CALLER)
