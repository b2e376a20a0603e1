"""optimize --shard and commit, from the command line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from datasets import everything
from jobs import dataset

from millstream import StreamingDataset


@pytest.fixture
def lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with a module and a list of inputs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "shouting", raising=False)
    Path("shouting.py").write_text("def shout(line):\n    return {'text': line.upper() * 40}\n")
    Path("list.txt").write_text("".join(f"line {n}\n" for n in range(50)))
    return tmp_path


def test_shards_and_a_commit(lines: Path, run: Any, document: Any) -> None:
    job = ["optimize", "shouting:shout", "@list.txt"]
    options = ["--workers", "0", "--chunk-bytes", "3KB"]
    code, out, _ = run(*job, "out", *options, "--shard", "2/3")
    assert code == 0
    assert "shard 2/3: 16 samples" in out
    assert "`millstream commit" in out
    code, out, error = run("commit", "out", "--workers", "0")
    assert (code, out) == (1, "")
    assert "34 inputs are not done: run shard 0/3, 1/3, and then commit again" in error
    for shard in ("0/3", "1/3"):
        assert document(*job, "out", *options, "--shard", shard)["shard"] == shard
    found = document("commit", "out", "--workers", "0")
    assert (found["samples"], found["version"], found["already_done"]) == (50, 1, False)
    assert document("commit", "out")["already_done"]
    assert run(*job, "whole", *options)[0] == 0
    assert dataset(everything(Path("out"))) == dataset(everything(Path("whole")))
    assert StreamingDataset("out")[49]["text"].startswith("LINE 49")


def test_what_makes_no_sense(lines: Path, run: Any) -> None:
    code, _, error = run("optimize", "shouting:shout", "@list.txt", "out", "--shard", "3/3")
    assert (code, "expected INDEX/COUNT" in error) == (2, True)
    code, _, error = run("commit", "out")
    assert (code, "no job that is run in shards" in error) == (2, True)
