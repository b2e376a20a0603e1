"""StreamingDataLoader: a torch DataLoader to the outside, batches of rows inside."""

from __future__ import annotations

import logging
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import torch
from torch.utils.data import DataLoader, default_collate

from millstream.errors import UsageError
from millstream.plan import CoverageReport
from millstream.reading.as_inputs import Numbered, batches_as_inputs
from millstream.reading.dataset import StreamingDataset, stream_of
from millstream.reading.run import Run, Shape, check_rank, drops_last
from millstream.reading.stats import ReadStats
from millstream.reading.steps import Maker
from millstream.torch.engine import Engine, EpochIterator
from millstream.torch.topology import CALLER, Ranks, find_ranks

logger = logging.getLogger("millstream")


class StreamingDataLoader(DataLoader[Any]):
    """Batches of a StreamingDataset for this rank, in the computable order of the run.

    A batch is done when `next()` has returned it; what workers have made beyond that never
    counts. Every `iter()` starts the next epoch, but the first after `load_state_dict`, which
    goes on at the next batch; a loop that was left early does not go on; an iterator ends when
    there is a newer one, or when it has raised an error, and the state then is that after the
    last batch that came. A state may be loaded with any number of ranks and workers and any
    batch size.

    Before a batch is made by functions of the user's (a transform, a `__getitem__`, a
    `collate_fn`), `random`, `numpy.random` and torch are seeded from (seed, epoch, first
    position of the batch, rank), whoever makes it; the states of this process stay as they are.

    Args:
        dataset: What to load. A transform or an overridden `__getitem__` is applied.
        batch_size: Samples a batch on each rank.
        shuffle: None: as the dataset says. UsageError if the dataset was told the contrary.
        num_workers: Processes that make batches; 0 makes them in this one. They are started by
            exec and do not import the main script: it needs no main guard.
        collate_fn: From a list of samples to a batch; by default what torch's default_collate
            makes, straight from the columns.
        pin_memory: Whether tensors are copied to page-locked memory, for accelerators.
        drop_last: None: as the dataset says, and if it says nothing, when there are several
            ranks.
        timeout: Seconds that a batch of a worker may take from when it is asked for; 0: any.
        worker_init_fn: Called in each worker once, with the worker's number.
        generator: Only its initial seed is used: it takes the place of the dataset's seed for
            the random states that functions find. The order is the dataset's.
        prefetch_factor: Batches that each worker makes ahead; 2 by default.
        persistent_workers: Whether workers are kept from one epoch to the next.
        rank, ranks: This process among those that train; found from torch.distributed or the
            launcher if not given.

    `sampler` and `batch_sampler` raise UsageError; `multiprocessing_context` and
    `in_order=False` change nothing and warn; `pin_memory_device` is torch's.

    Raises, when iterated:
        WorkerDied: A worker has ended; names it and the batch it was at.
        WorkerTimeout: A batch took longer than `timeout`.
        FunctionError: A transform, a `__getitem__`, the `collate_fn` or `worker_init_fn` raised.
        NotPicklable: The dataset or a function cannot be sent to a worker.
        UsageError: The samples have no default batch; or torch.distributed was initialized after
            the loader was made, and says another rank.
        CorruptData: Bytes of the dataset are not what was written.
    """

    def __init__(
        self,
        dataset: StreamingDataset,
        batch_size: int = 1,
        shuffle: bool | None = None,
        sampler: None = None,
        batch_sampler: None = None,
        num_workers: int = 0,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool | None = None,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None,
        generator: torch.Generator | None = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
        rank: int | None = None,
        ranks: int | None = None,
    ) -> None:
        _refuse_samplers(sampler, batch_sampler)
        _check(dataset, batch_size, num_workers, prefetch_factor, persistent_workers, timeout)
        _warn_of_what_does_nothing(multiprocessing_context, in_order)
        drops = _agreed("drop_last", dataset.drop_last, drop_last)
        self._found = _rank_of(rank, ranks)
        shape = Shape(
            batch_size=batch_size,
            ranks=self._found.ranks,
            drop_last=drops_last(drops, self._found.ranks),
        )
        shuffle = _agreed("shuffle", dataset.shuffle, shuffle)
        self._run = Run(stream_of(dataset), shape, self._found.rank, shuffle=shuffle)
        self._engine = Engine(
            Maker(
                dataset=dataset,
                rank=self._found.rank,
                seed=dataset.seed if generator is None else generator.initial_seed(),
                collate_fn=collate_fn,
            ),
            workers=num_workers,
            ahead=2 if prefetch_factor is None else prefetch_factor,
            persistent=persistent_workers,
            timeout=timeout or None,
            init_fn=worker_init_fn,
        )
        self._latest: weakref.ref[EpochIterator] | None = None
        super().__init__(
            dataset,  # type: ignore[arg-type]  # registered as an IterableDataset, by no base class
            batch_size=batch_size,
            num_workers=num_workers,
            collate_fn=collate_fn or default_collate,
            pin_memory=pin_memory,
            drop_last=shape.drop_last,
            timeout=timeout,
            worker_init_fn=worker_init_fn,
            generator=generator,
            prefetch_factor=prefetch_factor,
            persistent_workers=persistent_workers,
            pin_memory_device=pin_memory_device,
        )

    def __getstate__(self) -> dict[str, Any]:
        """A copy goes on where this one stands, and has no iterator yet."""
        return {**self.__dict__, "_latest": None}

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        self._found.check()
        before = None if self._latest is None else self._latest()
        if before is not None:
            before.supersede()
        if self._latest is None:
            found = self._found
            logger.info("rank %d of %d, as %s says", found.rank, found.ranks, found.source)
        pin = _pinning() if self.pin_memory else None
        batches = EpochIterator(self._run, self._engine, pin)
        self._latest = weakref.ref(batches)
        return batches

    def __len__(self) -> int:
        """The batches of a whole epoch on this rank, in the present shape."""
        return len(self._run)

    def __inputs__(self) -> Numbered:
        """What `map` and `optimize` take this for: the batches of its first epoch, of all ranks."""
        run, dataset = self._run, cast(StreamingDataset, self.dataset)
        return batches_as_inputs(dataset, run.shape, run.shuffle, self.collate_fn)

    @property
    def remaining(self) -> int:
        """The batches that are left of the epoch where the run stands.

        After a state was loaded these are the batches that the next `iter` gives; after the last
        batch of an epoch, those of the next.
        """
        return self._run.remaining

    def set_epoch(self, epoch: int) -> None:
        """The next `iter` starts this epoch.

        A state that was loaded and stands in this very epoch still goes on where it stands, so
        a training loop that calls this before each epoch can be resumed as it is.
        """
        self._run.set_epoch(epoch)

    def coverage(self) -> CoverageReport:
        """Whether the epoch that was iterated last gave just the planned rows up to here.

        Counts what the reader took from the chunks, not what it was asked for. Print it, or ask
        `.exact`; it takes time in proportion to the rows. Raises UsageError before the first
        `iter`.
        """
        return self._run.coverage()

    def stats(self) -> ReadStats:
        """What the batches so far have cost where the data is far away.

        Chunks opened and what was read by ranges are counted by who made the batches, when they
        are handed out. Whole chunks are counted where they are fetched, which is ahead of the
        batches and for all loaders of this process that read the same place into the same cache:
        `fetched_chunks` and `fetched_bytes` are what was fetched since this loader was made, for
        it and for those. What another process has fetched into the cache is in none of it.
        """
        return self._engine.stats

    def state_dict(self) -> dict[str, Any]:
        """Where the run stands: JSON-able, under 1 KB, the same on every rank."""
        return self._run.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from a state at the next `iter`.

        Raises StateMismatch if it belongs to another version of the data or another order.
        """
        self._run.load_state_dict(state)


def _refuse_samplers(sampler: object, batch_sampler: object) -> None:
    for name, given in (("sampler", sampler), ("batch_sampler", batch_sampler)):
        if given is not None:
            raise UsageError(
                f"{name} is not for a StreamingDataLoader, whose dataset has an order of its own: "
                "use shuffle=, seed=, subsample=, or index the dataset in a plain DataLoader"
            )


def _check(
    dataset: object,
    batch_size: object,
    num_workers: object,
    prefetch_factor: object,
    persistent_workers: object,
    timeout: float,
) -> None:
    if not isinstance(dataset, StreamingDataset):
        raise UsageError(
            f"dataset is a {type(dataset).__name__}, expected a StreamingDataset; others are for "
            "torch.utils.data.DataLoader"
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


def _warn_of_what_does_nothing(multiprocessing_context: object, in_order: bool) -> None:
    if multiprocessing_context is not None:
        warnings.warn(
            "multiprocessing_context changes nothing: workers are started by exec, never forked",
            stacklevel=3,
        )
    if not in_order:
        warnings.warn("in_order=False changes nothing: batches come in order", stacklevel=3)


def _agreed(name: str, dataset: bool | None, loader: bool | None) -> bool | None:
    if None not in (dataset, loader) and dataset != loader:
        raise UsageError(
            f"{name} is {loader} for the loader and {dataset} for its dataset; give it to one only"
        )
    return dataset if loader is None else loader


def _rank_of(rank: int | None, ranks: int | None) -> Ranks:
    if (rank is None) != (ranks is None):
        raise UsageError("give both rank and ranks, or neither")
    if rank is None or ranks is None:
        return find_ranks()
    check_rank(rank, ranks)
    return Ranks(rank=rank, ranks=ranks, source=CALLER)


def _pinning() -> Callable[[Any], Any] | None:
    """What copies a batch to page-locked memory; None, with torch's warning, without a device."""
    devices = getattr(torch, "accelerator", torch.cuda)  # torch.accelerator came with 2.6
    if not devices.is_available():
        warnings.warn(
            "pin_memory is True, but there is no accelerator: memory is not pinned", stacklevel=3
        )
        return None
    from torch.utils.data._utils.pin_memory import pin_memory

    return pin_memory
