"""optimize --mode, merge, and the history that info shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from datasets import make, write

import millstream as ms

PREPARE = """
from pathlib import Path

def length(path):
    return {"length": len(Path(path).read_text())}
"""


@pytest.fixture
def texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three texts, and a module with a function for them in the current folder."""
    (tmp_path / "texts").mkdir()
    for n in range(3):
        (tmp_path / f"texts/{n}.txt").write_text("x" * n)
    (tmp_path / "prepare_texts.py").write_text(PREPARE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path / "texts"


def test_optimize_appends_and_overwrites(texts: Path, run: Any, document: Any) -> None:
    def optimize(inputs: object, *options: str, code: int = 0) -> Any:
        call = ("optimize", "prepare_texts:length", inputs, "d", "--workers", "0", *options)
        return document(*call, code=code) if not code else run(*call)

    assert optimize(texts)["version"] == 1
    (texts / "more").mkdir()
    (texts / "more/4.txt").write_text("xxxx")
    code, _, err = optimize(texts / "more", code=1)
    assert code == 1
    assert 'pass mode="append" or mode="overwrite"' in err
    report = optimize(texts / "more", "--mode", "append")
    assert (report["version"], report["samples"], report["total"]) == (2, 1, 4)
    replaced = optimize(texts / "more", "--mode", "overwrite")["replaced"]
    assert replaced[:2] == [2, 4]
    history = document("info", "d")["history"]
    assert [(past["version"], past["rows"], past["mode"]) for past in history] == [
        (3, 1, "overwrite"), (2, 4, "append"), (1, 3, None),
    ]  # fmt: skip
    _, out, _ = run("info", "d")
    lines = [line.split() for line in out.splitlines()]
    assert ["VERSION", "ROWS", "SIZE", "CHUNKS", "DIGEST", "PARENT", "MODE"] in lines
    assert [line[-2:] for line in lines if line[:2] == ["3", "1"]] == [["overwrite", "newest"]]
    assert [line[-1] for line in lines if line[:2] == ["2", "4"]] == ["append"]
    assert not any("mode" in line for line in lines)


def test_optimize_takes_batches_a_few_and_a_folder(texts: Path, run: Any) -> None:
    Path("list.txt").write_text("2.txt\n1.txt\n0.txt\n")
    line = ["optimize", "prepare_texts:length", "@list.txt", "d", "--workers", "0"]
    run(*line, "--fast-dev-run", "2", "--input-dir", "texts")
    assert list(ms.StreamingDataset("d")) == [{"length": 2}, {"length": 1}]
    code, _, err = run(*line[:3], "e", *line[4:], "--batch-size", "2", "--input-dir", "texts")
    assert code == 1  # of a function that takes one path
    assert "['texts/2.txt', 'texts/1.txt']" in err


def test_merge(tmp_path: Path, run: Any, document: Any) -> None:
    places = [write(tmp_path / f"{n}", 5, lambda i, n=n: make(10 * n + i)).root for n in range(3)]
    code, out, _ = run("merge", *places[:2], tmp_path / "all")
    assert code == 0
    assert f"{tmp_path / 'all'}: 10 samples" in out
    report = document("merge", places[2], tmp_path / "all", "--mode", "append")
    assert (report["version"], report["total"]) == (2, 15)
    ids = [sample["id"] for sample in ms.StreamingDataset(tmp_path / "all")]
    assert ids == [10 * n + i for n in range(3) for i in range(5)]
    code, out, err = run("merge", places[0], tmp_path / "none", tmp_path / "other")
    assert (code, out) == (1, "")
    assert err.startswith(f"millstream merge: {tmp_path / 'none'} holds no finished millstream")
