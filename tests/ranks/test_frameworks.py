"""Lightning, Fabric and Accelerate train on two real ranks and resume; users wrap nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from gang import HERE, SECONDS, SOURCE, gang
from ranked_data import ROWS, opened

pytestmark = pytest.mark.timeout(250)
COUNT = ROWS["a"]
STEPS = COUNT // 20


def planned(place: Path, rank: int) -> list[list[list[int]]]:
    """The batches of a rank in four epochs, as the plan has them."""
    plans = [opened(place).plan(batch_size=10, ranks=2, epoch=epoch) for epoch in range(4)]
    return [[plan.batch(step, rank).tolist() for step in range(plan.steps)] for plan in plans]


@pytest.fixture(scope="module")
def root(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a script of a user's was run, which Lightning started once more for the second rank."""
    folder = tmp_path_factory.mktemp("lightning")
    path = os.pathsep.join(map(str, (SOURCE, HERE, HERE.parent)))
    done = subprocess.run(
        [sys.executable, str(HERE / "frameworks.py"), str(place), str(folder)],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


def seen(run: dict[str, Any]) -> list[list[int]]:
    return [batch for _, _, batch in run["seen"]]


def test_lightning_trains_with_validation_in_between(place: Path, root: Path) -> None:
    runs = [json.loads((root / f"rank-{rank}.json").read_text()) for rank in range(2)]
    for rank, run in enumerate(runs):
        epochs = planned(place, rank)
        assert seen(run) == epochs[0] + epochs[1]
        assert run["reports"] == ["0: 0 to 220, True", "1: 0 to 220, True"]
    # Two batches of the sanity check, then two whole validations.
    validated = [i for run in runs for i in run["validated"]]
    assert len(validated) == 2 * COUNT + 120
    assert set(validated) == set(range(COUNT))


def test_lightning_resumes_and_limits_epochs(place: Path, root: Path, tmp_path: Path) -> None:
    runs = [
        {"checkpoint": "middle-step=7.ckpt", "max_epochs": 2, "val_check_interval": 0.5},
        {"checkpoint": "end-0.ckpt", "max_epochs": 2},
        # After the validation that follows the last batch, and in the middle of an epoch.
        {"checkpoint": "validated-22.ckpt", "max_epochs": 3},
        {"checkpoint": "validated-16.ckpt", "max_epochs": 2},
        {"max_epochs": 3, "limit_train_batches": 4, "limit_val_batches": 1},
    ]
    found = gang("frameworks:fits", 2, tmp_path, place=str(place), root=str(root), runs=runs)
    for rank, (middle, end, validated, half, limited, predicted) in enumerate(found):
        first, second, third, _ = planned(place, rank)
        assert seen(middle) == first[7:] + second
        assert middle["reports"] == ["0: 140 to 220, True", "1: 0 to 220, True"]
        assert middle["seen"][0][:2] == [0, 7]
        assert seen(end) == second
        assert end["reports"] == ["1: 0 to 220, True"]
        assert seen(validated) == third
        assert seen(half) == second[5:]
        assert seen(limited) == first[:4] + second[:4] + third[:4]
        assert limited["reports"] == [f"{epoch}: 0 to 80, True" for epoch in range(3)]
        plan = opened(place).plan(batch_size=30, ranks=2, drop_last=False)
        assert predicted == [plan.batch(step, rank).tolist() for step in range(plan.steps)]


@pytest.mark.parametrize("framework", ["fabric", "accelerate"])
def test_a_checkpoint_in_the_middle(place: Path, tmp_path: Path, framework: str) -> None:
    found = gang(f"frameworks:{framework}", 2, tmp_path, place=str(place), root=str(tmp_path))
    for rank, run in enumerate(found):
        first, second, third, _ = planned(place, rank)
        assert run["whole"] == first + second + third
        assert run["rest"] == second[5:] + third
        assert run["exact"]
        if framework == "accelerate":
            assert (run["same"], run["processes"]) == (True, 2)
    if framework == "accelerate":
        # Its own loader iterates in the first process, and that one's share is half of the data.
        assert all("samples would be lost" in told for told in found[0]["refused"])
