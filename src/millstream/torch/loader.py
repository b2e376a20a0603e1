"""StreamingDataLoader: a torch DataLoader to the outside, batches of rows inside."""

from __future__ import annotations

import logging
import os
import weakref
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Literal

import torch
from torch.utils.data import DataLoader, default_collate

from millstream.errors import UsageError
from millstream.plan import CoverageReport, RanksReport
from millstream.reading.as_inputs import Numbered, batches_as_inputs
from millstream.reading.explained import DatasetPlan, planned
from millstream.reading.run import Run, divided
from millstream.reading.stats import LoaderStats
from millstream.reading.steps import Maker
from millstream.reading.streamed import Streamed, feed_of
from millstream.torch.arguments import (
    agreed,
    are_threads,
    check,
    check_replay,
    padding_of,
    rank_of,
    refuse_samplers,
    trace_of,
    warn_of_what_does_nothing,
)
from millstream.torch.engine import Engine, EpochIterator
from millstream.torch.frameworks import adapt
from millstream.torch.gathering import gathered
from millstream.torch.pinning import pinning
from millstream.torch.replay import Replay

logger = logging.getLogger("millstream")


class StreamingDataLoader(DataLoader[Any]):
    """Batches of a dataset for this rank, in the computable order of the run.

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
        dataset: What to load: a StreamingDataset, a StreamingRawDataset, a CombinedStreamingDataset
            or a ParallelStreamingDataset. A transform or an overridden `__getitem__` is applied.
        batch_size: Samples a batch on each rank.
        shuffle: None: as the dataset says. UsageError if the dataset was told the contrary.
        num_workers: Processes that make batches; 0 makes them in this one. They are started by
            exec and do not import the main script: it needs no main guard.
        collate_fn: From a list of samples to a batch; by default what torch's default_collate
            makes, straight from the columns.
        pin_memory: Whether tensors are copied to page-locked memory, for accelerators.
        drop_last: None: as the dataset says, and if it says nothing, when there are several
            ranks. False: the last batch may be smaller, or missing, on some ranks.
        pad: Whether the last batch is full on every rank: at its end there are samples again that
            came before, `loader.padded` of them. A name: they are marked, too, by a field of that
            name, bool (batch,), in every batch; batches have to be dicts. `coverage()` does not
            count them. See docs/ranks.md.
        timeout: Seconds that a batch of a worker may take from when it is asked for; 0: any.
        worker_init_fn: Called in each worker once, with the worker's number.
        generator: Only its initial seed is used: it takes the place of the dataset's seed for
            the random states that functions find. The order is the dataset's.
        prefetch_factor: Batches that each worker makes ahead; 2 by default. Where they take far
            less than a message does, turns of up to 16 batches.
        persistent_workers: Whether workers are kept from one epoch to the next.
        workers: "processes", or "threads" of this process: they start at once and share everything,
            for functions that let go of the interpreter's lock. See docs/loading.md.
        rank: The number of this process among those that train, from 0; found from
            torch.distributed or the launcher if not given. Where several processes train one
            replica (tensor or pipeline parallelism), they give the same rank.
        ranks: How many processes, or replicas, train; found in the same way, and given with rank.
        replay: Only so many batches are made, and given again and again until an epoch has its
            usual length: how fast the trainer is when its data costs nothing. There is no state and
            no coverage of that: UsageError.
        profile_batches: Of so many batches the stages are written to `result.json`: a trace for
            ui.perfetto.dev or chrome://tracing. See docs/loading.md.
        profile_skip_batches: How many batches come before those.
        profile_dir: The folder of that file; by default the current one.
        sampler: UsageError: the order is the dataset's.
        batch_sampler: UsageError: the order is the dataset's.
        multiprocessing_context: Changes nothing, and warns: workers are started by exec.
        pin_memory_device: As torch's.
        in_order: False changes nothing, and warns: batches always come in order.

    Raises:
        UsageError: For arguments that make no sense. When iterated: the samples have no default
            batch; or torch.distributed was initialized after the first batches were made, and says
            another rank.
        WorkerDied: When iterated: a worker has ended; names it and the batch it was at.
        WorkerTimeout: A batch took longer than `timeout`.
        FunctionError: A transform, a `__getitem__`, the `collate_fn` or `worker_init_fn` raised.
        NotPicklable: The dataset or a function cannot be sent to a worker.
        CorruptData: Bytes of the dataset are not what was written.
    """

    def __init__(
        self,
        dataset: Streamed,
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
        workers: Literal["processes", "threads"] = "processes",
        rank: int | None = None,
        ranks: int | None = None,
        pad: bool | str = False,
        replay: int | None = None,
        profile_batches: int | None = None,
        profile_skip_batches: int = 0,
        profile_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        refuse_samplers(sampler, batch_sampler)
        check(dataset, batch_size, num_workers, prefetch_factor, persistent_workers, timeout)
        check_replay(replay)
        warn_of_what_does_nothing(multiprocessing_context, in_order)
        threads = are_threads(workers) and num_workers > 0
        self._found = rank_of(rank, ranks)
        drops = agreed("drop_last", dataset.drop_last, drop_last)
        pads, self._mark = padding_of(pad)
        self._shape_on = partial(divided, batch_size, drop_last=drops, pad=pads)
        shape = self._shape_on(self._found.ranks)
        shuffle = agreed("shuffle", dataset.shuffle, shuffle)
        self._own_run = Run(feed_of(dataset), shape, self._found.rank, shuffle=shuffle)
        self._engine = Engine(
            _maker(dataset, self._found.rank, collate_fn, generator, alone=not threads),
            workers=num_workers,
            threads=threads,
            ahead=2 if prefetch_factor is None else prefetch_factor,
            persistent=persistent_workers,
            timeout=timeout or None,
            init_fn=worker_init_fn,
            trace=trace_of(profile_batches, profile_skip_batches, profile_dir),
        )
        self._replay = replay
        self._latest: weakref.ref[EpochIterator | Replay] | None = None
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
        given = {"shuffle": shuffle, "workers": workers, "rank": rank, "ranks": ranks, "pad": pad}
        adapt(self, self._own_run, given)

    @property
    def _run(self) -> Run:
        """The run. Until it has begun, its rank is the one that torch.distributed says by then."""
        now = self._found if self._latest is not None else self._found.now()
        if (now.rank, now.ranks) != (self._found.rank, self._found.ranks):
            shape = self._shape_on(now.ranks)
            self._own_run.divide(shape, now.rank)
            self._engine.be_rank(now.rank)
            self.__dict__["drop_last"] = shape.drop_last  # which torch does not let be set
        self._found = now
        return self._own_run

    def __getstate__(self) -> dict[str, Any]:
        """A copy goes on where this one stands, and has no iterator yet."""
        return {**self.__dict__, "_latest": None}

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        """The batches of the next epoch; after `load_state_dict`, those that were left."""
        run = self._run
        self._found.check()
        before = None if self._latest is None else self._latest()
        if before is not None:
            before.supersede()
        if self._latest is None:
            found = self._found
            logger.info("rank %d of %d, as %s says", found.rank, found.ranks, found.source)
        pin = pinning() if self.pin_memory else None
        epoch = EpochIterator(run, self._engine, pin, self._mark)
        batches = epoch if self._replay is None else Replay(epoch, self._replay)
        self._latest = weakref.ref(batches)
        return batches

    def __len__(self) -> int:
        """The batches of a whole epoch on this rank, in the present shape."""
        return len(self._run)

    def __inputs__(self) -> Numbered:
        """What `map` and `optimize` take this for: the batches of its first epoch, of all ranks."""
        run = self._run
        return batches_as_inputs(self.dataset, run.shape, run.shuffle, self.collate_fn)

    @property
    def remaining(self) -> int:
        """The batches that are left of the epoch where the run stands.

        After a state was loaded these are the batches that the next `iter` gives; after the last
        batch of an epoch, those of the next.
        """
        return self._run.remaining

    @property
    def padded(self) -> int:
        """How many samples at the end of the last batch came before, and only fill it: `pad`."""
        return self._own_run.padded

    def plan(self, epoch: int | None = None) -> DatasetPlan:
        """Who reads what when in an epoch as this loader divides it; None: in the next one.

        `.batch(step, rank)` gives row numbers of any step, `.when(row)` the places of a row,
        `.explain()` what it costs.
        """
        run = self._run
        number = run.epoch if epoch is None else epoch
        return planned(self._engine.feed, run.order, run.shape, number)

    def set_epoch(self, epoch: int) -> None:
        """The next `iter` starts this epoch.

        A state that was loaded and stands in this very epoch still goes on where it stands, so
        a training loop that calls this before each epoch can be resumed as it is.
        """
        self._run.set_epoch(epoch)

    def _refuse_replays(self, name: str) -> None:
        if self._replay is not None:
            raise UsageError(
                f"{name} is of a run, and replay={self._replay} gives the same batches again and "
                "again, to measure a trainer: make a loader without it"
            )

    def coverage(self) -> CoverageReport:
        """Whether the epoch that was iterated last gave just the planned rows up to here.

        Counts what the reader took from the chunks, not what it was asked for. Print it, or ask
        `.exact`; it takes time in proportion to the rows. Raises UsageError before the first
        `iter`.
        """
        self._refuse_replays("coverage()")
        return self._run.coverage()

    def coverage_of_all(self) -> RanksReport:
        """Whether all ranks together were given just the planned rows up to here.

        Every process has to call it, after the same step: it gathers their `coverage()` by
        torch.distributed. Raises UsageError if that is not initialized and there are several
        ranks: then `CoverageReport.combined` puts reports together that got here otherwise.
        """
        own = self.coverage()
        return own.combined(gathered(own))

    def stats(self) -> LoaderStats:
        """Where the time of the batches so far went, and what they cost where the data is far away.

        Printed, it says in one line which stage is the bottleneck.

        Chunks opened and what was read by ranges are counted by who made the batches, when they
        are handed out. Whole chunks are counted where they are fetched, which is ahead of the
        batches and for all loaders of this process that read the same place into the same cache:
        `fetched_chunks` and `fetched_bytes` are what was fetched since this loader was made, for
        it and for those. What another process has fetched into the cache is in none of it.
        """
        return self._engine.stats

    def state_dict(self) -> dict[str, Any]:
        """Where the run stands: JSON-able, under 1 KB, the same on every rank."""
        self._refuse_replays("state_dict()")
        return self._run.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from a state at the next `iter`.

        Raises StateMismatch if it belongs to another version of the data or another order.
        """
        self._run.load_state_dict(state)


def _maker(
    dataset: Streamed,
    rank: int,
    collate_fn: Callable[[list[Any]], Any] | None,
    generator: torch.Generator | None,
    *,
    alone: bool,
) -> Maker:
    collate_fn = None if collate_fn is default_collate else collate_fn  # which is ours, but slow
    seed = dataset.seed if generator is None else generator.initial_seed()
    return Maker(dataset=dataset, rank=rank, seed=seed, collate_fn=collate_fn, alone=alone)
