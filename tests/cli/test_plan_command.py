"""`millstream plan`: the summary of an epoch, the samples of a past step, the places of a row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import write

import millstream as ms
from millstream.store import LocalStore


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> LocalStore:
    return write(tmp_path_factory.mktemp("data") / "d")


def test_it_says_what_an_epoch_costs(data: LocalStore, run: Any, document: Any) -> None:
    code, out, err = run("plan", data.root, "--shuffle", "--batch-size", 7, "--ranks", 4)
    assert (code, err) == (0, "")
    lines = {" ".join(line.split()[:2]): line for line in out.splitlines()}
    assert "epoch 0" in lines
    assert any("2 of 7 samples a rank" in line for line in lines.values())
    assert any("56, 4 left out" in line for line in lines.values())
    found = document("plan", data.root, "--shuffle", "--batch-size", 7, "--ranks", 4, "--rank", 1)
    plan = ms.StreamingDataset(data.root, shuffle=True).plan(batch_size=7, ranks=4)
    assert found == plan.explain(1).to_json()


def test_a_past_step_is_shown_as_it_was(
    data: LocalStore, tmp_path: Path, run: Any, document: Any
) -> None:
    dataset = ms.StreamingDataset(data.root, shuffle=True, seed=5, shuffle_window=30, fields=["id"])
    loader = ms.StreamingDataLoader(dataset, batch_size=4, rank=1, ranks=2)
    batches = [batch["id"].tolist() for _ in range(2) for batch in loader]
    steps = len(loader)
    path = tmp_path / "state.json"
    path.write_text(json.dumps(loader.state_dict()))
    shape = ("--state", path, "--batch-size", 4, "--ranks", 2, "--epoch", 1, "--step", 3)
    found = document("plan", data.root, *shape, "--rank", 1)
    assert found["rows"] == batches[steps + 3]
    both = document("plan", data.root, *shape)
    assert set(batches[steps + 3]) < set(both["rows"])
    assert both["positions"] == list(range(24, 32))
    code, out, _ = run("plan", data.root, *shape, "--rank", 1, "--show", 3)
    assert code == 0
    assert out.startswith("epoch 1, step 3: 4 samples\n")
    shown = out.splitlines()[3:6]
    for line, row in zip(shown, batches[steps + 3], strict=False):
        assert f"id: {row}" in line
        assert line.split()[2] == str(row)
    assert out.endswith("... and 1 more: --show 4\n")
    # By the settings themselves, for who has no state.
    options = ("--shuffle", "--seed", 5, "--window", 30, "--batch-size", 4, "--ranks", 2)
    again = document("plan", data.root, *options, "--epoch", 1, "--step", 3, "--rank", 1)
    assert again == found


def test_it_says_when_a_row_comes(data: LocalStore, run: Any, document: Any) -> None:
    options = ("--batch-size", 4, "--ranks", 3, "--shuffle", "--subsample", 1.5)
    dataset = ms.StreamingDataset(data.root, shuffle=True, subsample=1.5)
    plan = dataset.plan(batch_size=4, ranks=3)
    for row in (0, 33, 59):
        found = document("plan", data.root, *options, "--row", row)
        places = [(p["position"], p["step"], p["rank"]) for p in found["places"]]
        assert places == [(w.position, w.step, w.rank) for w in plan.when(row)]
    _, out, _ = run("plan", data.root, "--row", 7, "--batch-size", 2, "--start", 4)
    assert out == "row 7: position 7, step 1, rank 0\n"
    _, out, _ = run("plan", data.root, "--row", 3, "--start", 4)
    assert out == "row 3 is not in this epoch, from there on\n"


def test_blocks_of_tokens(tmp_path: Path, run: Any) -> None:
    ms.optimize(
        lambda i: np.arange(10 * i, 10 * i + 10), range(20), tmp_path / "t",
        item_loader=ms.TokensLoader(), chunk_size=50, num_workers=0, verbose=False,
    )  # fmt: skip
    _, out, _ = run("plan", tmp_path / "t", "--block-size", 4, "--batch-size", 2, "--step", 3)
    assert [line.split()[-4:] for line in out.splitlines()[3:]] == [
        ["24", "25", "26", "27"], ["28", "29", "30", "31"],
    ]  # fmt: skip


def test_what_makes_no_sense(data: LocalStore, tmp_path: Path, run: Any) -> None:
    path = tmp_path / "state.json"
    for content in ("{", "[]", '{"order": {"seed": 1}}'):
        path.write_text(content)
        assert run("plan", data.root, "--state", path)[0] == 2
    for options in (("--rank", 2), ("--step", 99), ("--row", 60), ("--pad", "--drop-last")):
        code, _, err = run("plan", data.root, *options)
        assert code == (1 if options[0] == "--row" else 2), err
    part = ms.StreamingDataset(data.root, subsample=0.5).batches(3)
    path.write_text(json.dumps(part.state_dict()))
    code, _, err = run("plan", data.root, "--state", path)
    assert code == 1
    assert "subsample" in err
