"""Which rank a process takes itself for, and that it says so."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from ranked_data import opened
from torch.utils.data import DataLoader

import millstream as ms
from millstream import errors
from millstream.torch.topology import NOBODY, find_ranks


def found(**variables: str) -> tuple[int, int, str]:
    ranks = find_ranks(variables)
    return ranks.rank, ranks.ranks, ranks.source


def test_ranks_are_found_from_the_launcher() -> None:
    assert found(RANK="3", WORLD_SIZE="8") == (3, 8, "torchrun")
    assert found(SLURM_PROCID="1", SLURM_STEP_NUM_TASKS="2") == (1, 2, "SLURM")
    assert found(OMPI_COMM_WORLD_RANK="0", OMPI_COMM_WORLD_SIZE="4") == (0, 4, "Open MPI")
    assert found(PMI_RANK="2", PMI_SIZE="3") == (2, 3, "MPI")
    assert found() == (0, 1, NOBODY)
    with pytest.raises(errors.UsageError):
        found(RANK="8", WORLD_SIZE="8")


def test_a_batch_script_of_slurm_is_one_process() -> None:
    """sbatch sets SLURM_NTASKS and SLURM_PROCID too; the count of a step's tasks only srun does."""
    script = {"SLURM_NTASKS": "8", "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_JOB_ID": "7"}
    assert found(**script) == (0, 1, NOBODY)
    step = {**script, "SLURM_PROCID": "5", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "8"}
    assert found(**step) == (5, 8, "SLURM")
    one = {**script, "SLURM_STEP_ID": "1", "SLURM_STEP_NUM_TASKS": "1"}  # srun -n 1, or --pty bash
    assert found(**one) == (0, 1, "SLURM")
    # torchrun that srun started once a node knows better.
    assert found(**one, RANK="9", WORLD_SIZE="16") == (9, 16, "torchrun")


@pytest.mark.parametrize(
    ("options", "said"),
    [({}, NOBODY), ({"rank": 1, "ranks": 4}, "the call")],
)
def test_the_first_epoch_says_which_rank_was_assumed_and_why(
    place: Path, caplog: pytest.LogCaptureFixture, options: dict[str, int], said: str
) -> None:
    loader = ms.StreamingDataLoader(opened(place), batch_size=50, **options)
    with caplog.at_level(logging.INFO, logger="millstream"):
        for _ in range(2):
            list(loader)
    rank, ranks = options.get("rank", 0), options.get("ranks", 1)
    assert [record.getMessage() for record in caplog.records] == [
        f"rank {rank} of {ranks}, as {said} says"
    ]


def test_a_plain_loader_divides_what_the_launcher_says(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    seen = []
    for rank in range(3):
        monkeypatch.setenv("RANK", str(rank))
        plain = DataLoader(opened(place, drop_last=False), batch_size=10, num_workers=rank)
        seen += [i for batch in plain for i in batch["id"].tolist()]
    assert sorted(seen) == list(range(len(opened(place))))
