"""Which rank this process is, and which worker: the only place that reads the launcher's word."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import torch.distributed
from torch.utils.data import get_worker_info

from millstream.errors import UsageError

# (rank, number of ranks) as torchrun, SLURM's srun, Open MPI and MPICH name them.
_LAUNCHERS = {
    "torchrun": ("RANK", "WORLD_SIZE"),
    "SLURM": ("SLURM_PROCID", "SLURM_NTASKS"),
    "Open MPI": ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    "MPI": ("PMI_RANK", "PMI_SIZE"),
}
DISTRIBUTED = "torch.distributed"
CALLER = "the call"
NOBODY = "neither torch.distributed nor a launcher"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranks:
    """This process's rank among all, and who said so."""

    rank: int
    ranks: int
    source: str

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.ranks:
            raise UsageError(f"rank {self.rank} of {self.ranks} ranks, as {self.source} says")

    def check(self) -> None:
        """Raises UsageError if torch.distributed was initialized since, and says otherwise."""
        now = find_ranks()
        told = (now.rank, now.ranks) != (self.rank, self.ranks)
        if told and now.source == DISTRIBUTED and self.source != CALLER:
            raise UsageError(
                f"this loader was made for rank {self.rank} of {self.ranks}, as {self.source} "
                f"said; torch.distributed now says rank {now.rank} of {now.ranks}. Make the loader "
                "after init_process_group, or give it rank= and ranks="
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """This process's part of an epoch: its rank, and its place among the rank's workers."""

    rank: int
    ranks: int
    worker: int = 0
    workers: int = 1


def find_ranks(environment: Mapping[str, str] | None = None) -> Ranks:
    """From torch.distributed if it is initialized, else from the launcher, else one rank."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return Ranks(
            rank=torch.distributed.get_rank(),
            ranks=torch.distributed.get_world_size(),
            source=DISTRIBUTED,
        )
    variables = os.environ if environment is None else environment
    for launcher, (rank, ranks) in _LAUNCHERS.items():
        if rank in variables and ranks in variables:
            return Ranks(rank=int(variables[rank]), ranks=int(variables[ranks]), source=launcher)
    return Ranks(rank=0, ranks=1, source=NOBODY)


def find_share(known: tuple[int, int] | None) -> Share:
    """This process's share under a plain torch DataLoader, or without one.

    known: (rank, ranks) as the process that started this worker knew them: a worker that was
    spawned, not forked, has no torch.distributed to ask.
    """
    found, info = find_ranks(), get_worker_info()
    rank, ranks = found.rank, found.ranks
    if info is None:
        return Share(rank=rank, ranks=ranks)
    if found.source == NOBODY and known is not None:
        rank, ranks = known
    return Share(rank=rank, ranks=ranks, worker=info.id, workers=info.num_workers)
