"""StreamingDataLoader: a torch DataLoader to the outside, batches of rows inside."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset, default_collate, get_worker_info

from millstream.errors import UsageError
from millstream.plan import Plan
from millstream.reading.dataset import StreamingDataset
from millstream.reading.reader import Rows
from millstream.reading.run import Run, Shape, check_rank, drops_last
from millstream.torch.collate import collate_columns
from millstream.torch.topology import find_ranks


class StreamingDataLoader(DataLoader[Any]):
    """Batches of a StreamingDataset for this rank, in the computable order of the run.

    A batch is done when `next()` has returned it. Every `iter()` starts the next epoch, but the
    first after `load_state_dict`, which goes on at the next batch. A state may be loaded with
    any number of ranks and workers and any batch size.

    Args:
        dataset: What to load. A transform or an overridden `__getitem__` is applied.
        batch_size: Samples a batch on each rank.
        shuffle: None: as the dataset says. UsageError if the dataset was told the contrary.
        num_workers: Processes that make batches; 0 makes them in this one.
        collate_fn: From a list of samples to a batch; by default what torch's default_collate
            makes, straight from the columns.
        drop_last: None: as the dataset says, and if it says nothing, when there are several
            ranks.
        rank, ranks: This process among those that train; found from torch.distributed or the
            launcher if not given.

    The other arguments are those of torch.utils.data.DataLoader; `sampler` and `batch_sampler`
    raise UsageError.
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
        pin_memory_device: str = "",
        rank: int | None = None,
        ranks: int | None = None,
    ) -> None:
        _refuse_samplers(sampler, batch_sampler)
        if type(batch_size) is not int or batch_size < 1:
            raise UsageError(f"batch_size is {batch_size!r}, expected a number from 1")
        dataset.shuffle = _agreed("shuffle", dataset.shuffle, shuffle)
        drops = _agreed("drop_last", dataset.drop_last, drop_last)
        self._rank, ranks = _rank_of(rank, ranks)
        shape = Shape(batch_size=batch_size, ranks=ranks, drop_last=drops_last(drops, ranks))
        self._run = Run(dataset, shape)
        self._batches = _Batches(dataset, self._rank, collate_fn)
        self._engine: dict[str, Any] = {
            "num_workers": num_workers,
            "pin_memory": pin_memory,
            "timeout": timeout,
            "worker_init_fn": worker_init_fn,
            "multiprocessing_context": multiprocessing_context,
            "generator": generator,
            "prefetch_factor": prefetch_factor,
            "pin_memory_device": pin_memory_device,
        }
        super().__init__(
            dataset,  # type: ignore[arg-type]  # registered as an IterableDataset, by no base class
            batch_size=batch_size,
            collate_fn=collate_fn or default_collate,
            drop_last=shape.drop_last,
            **self._engine,
        )

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        return self._epoch(self._run.start())

    def _epoch(self, plan: Plan) -> Iterator[Any]:
        steps = _Steps(self._batches, plan)
        engine: DataLoader[Any] = DataLoader(
            steps, batch_size=None, collate_fn=_as_it_is, **self._engine
        )
        for step, batch in enumerate(engine):
            self._run.finish(plan, step)
            yield batch
        if plan.steps:  # where ranks differ by a sample, the last step may give this one none
            self._run.finish(plan, plan.steps - 1)

    def __len__(self) -> int:
        """The steps of a whole epoch on this rank, in the present shape."""
        return len(self._run)

    def set_epoch(self, epoch: int) -> None:
        """The next `iter` starts this epoch."""
        self._run.set_epoch(epoch)

    def state_dict(self) -> dict[str, Any]:
        """Where the run stands: JSON-able, under 1 KB, the same on every rank."""
        return self._run.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from a state at the next `iter`.

        Raises StateMismatch if it belongs to another version of the data or another order.
        """
        self._run.load_state_dict(state)


class _Batches:
    """Makes the batch of a step."""

    def __init__(
        self, dataset: StreamingDataset, rank: int, collate_fn: Callable[[list[Any]], Any] | None
    ) -> None:
        self._dataset, self._rank, self._collate_fn = dataset, rank, collate_fn

    def rows(self, plan: Plan, step: int) -> Rows:
        return plan.batch(step, self._rank)

    def make(self, plan: Plan, step: int, rows: Rows) -> Any:
        if self._dataset.is_plain and self._collate_fn is None:
            source = self._dataset.source
            return collate_columns(source, source.columns(rows))
        positions = plan.positions(step, self._rank)
        samples = list(self._dataset.samples_at(plan.epoch.number, positions, rows))
        return (self._collate_fn or default_collate)(samples)


class _Steps(IterableDataset[Any]):
    """The batches of an epoch; worker w of W makes those of the steps w, w + W, ..."""

    def __init__(self, batches: _Batches, plan: Plan) -> None:
        self._batches, self._plan = batches, plan

    def __iter__(self) -> Iterator[Any]:
        info = get_worker_info()
        first, stride = (0, 1) if info is None else (info.id, info.num_workers)
        for step in range(first, self._plan.steps, stride):
            rows = self._batches.rows(self._plan, step)
            if len(rows):
                yield self._batches.make(self._plan, step, rows)


def _as_it_is(batch: Any) -> Any:
    return batch


def _refuse_samplers(sampler: object, batch_sampler: object) -> None:
    for name, given in (("sampler", sampler), ("batch_sampler", batch_sampler)):
        if given is not None:
            raise UsageError(
                f"{name} is not for a StreamingDataLoader, whose dataset has an order of its own: "
                "use shuffle=, seed=, subsample=, or index the dataset in a plain DataLoader"
            )


def _agreed(name: str, dataset: bool | None, loader: bool | None) -> bool | None:
    if None not in (dataset, loader) and dataset != loader:
        raise UsageError(
            f"{name} is {loader} for the loader and {dataset} for its dataset; give it to one only"
        )
    return dataset if loader is None else loader


def _rank_of(rank: int | None, ranks: int | None) -> tuple[int, int]:
    if (rank is None) != (ranks is None):
        raise UsageError("give both rank and ranks, or neither")
    if rank is None or ranks is None:
        found = find_ranks()
        return found.rank, found.ranks
    check_rank(rank, ranks)
    return rank, ranks
