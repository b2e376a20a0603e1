"""Which rank this process is, and which worker: the only place that reads the launcher's word."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import FrameType

import torch.distributed
from torch.utils.data import get_worker_info

from millstream.errors import UsageError

# (rank, number of ranks) as torchrun, SLURM's srun, Open MPI and MPICH name them. SLURM_NTASKS and
# SLURM_PROCID are also there in a batch script, which is one process; only srun counts its tasks.
_LAUNCHERS = {
    "torchrun": ("RANK", "WORLD_SIZE"),
    "SLURM": ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),
    "Open MPI": ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    "MPI": ("PMI_RANK", "PMI_SIZE"),
}
DISTRIBUTED = "torch.distributed"
CALLER = "the call"
# Its loaders divide whatever dataset they iterate.
DIVIDER = "accelerate.data_loader"
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

    def now(self) -> Ranks:
        """What torch.distributed says, if it is initialized by now and nobody gave the rank."""
        if self.source == CALLER:
            return self
        found = find_ranks()
        return found if found.source == DISTRIBUTED else self

    def check(self) -> None:
        """Raises UsageError if torch.distributed says otherwise by now."""
        now = self.now()
        if (now.rank, now.ranks) != (self.rank, self.ranks):
            raise UsageError(
                f"this loader has given batches for rank {self.rank} of {self.ranks}, as "
                f"{self.source} said; torch.distributed now says rank {now.rank} of {now.ranks}. "
                "Make a loader after init_process_group, or give it rank= and ranks="
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
    spawned, not forked, has no torch.distributed to ask. Raises UsageError if what iterates it
    would divide it once more.
    """
    found, info = find_ranks(), get_worker_info()
    rank, ranks = found.rank, found.ranks
    if info is not None and found.source == NOBODY and known is not None:
        rank, ranks = known
    if ranks > 1 and DIVIDER in _callers():
        raise UsageError(
            f"Accelerate has wrapped this dataset, and would divide among {ranks} processes what "
            "is each one's share already: samples would be lost. Give accelerator.prepare a "
            "StreamingDataLoader, which it returns as it is; to go on in the middle of an epoch, "
            "load_state_dict() of that takes the place of skip_first_batches"
        )
    if info is None:
        return Share(rank=rank, ranks=ranks)
    return Share(rank=rank, ranks=ranks, worker=info.id, workers=info.num_workers)


def _callers() -> Iterator[str]:
    """The modules of the functions that are being called, the innermost first."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        yield str(frame.f_globals.get("__name__"))
        frame = frame.f_back
