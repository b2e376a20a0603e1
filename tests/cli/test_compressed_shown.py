"""What the commands say of compressed datasets, and that they write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import millstream as ms
from millstream.cli.write import find_inputs

WORDS = "the same words in each of all the rows of this dataset, again and again"


def write(folder: Path, how: str | None, start: int = 0, **options: Any) -> Path:
    ms.optimize(
        lambda i: {"id": i, "text": f"{i}: {WORDS}"}, range(start, start + 400), folder,
        compression=how, num_workers=0, verbose=False, **options,
    )  # fmt: skip
    return folder


@pytest.mark.parametrize(
    ("how", "said", "by"),
    [
        ("zstd:9", "compression zstd, level 9, by row, with a dictionary of ", "row"),
        ("zstd/frame", "compression zstd, level 3, by frame; ", "frame"),
        ("zstd/chunk", "compression zstd, level 3, by chunk; ", "chunk"),
    ],
)
def test_info_says_how_rows_are_compressed(
    tmp_path: Path, run: Any, document: Any, how: str, said: str, by: str
) -> None:
    folder = write(tmp_path / "d", how)
    code, out, err = run("info", folder)
    assert (code, err) == (0, "")
    (line,) = [line for line in out.splitlines() if line.startswith("stored")]
    assert said in line
    assert "times smaller in the first chunk" in line
    assert line.endswith("encryption none")
    assert ("no cheap random access" in line) == (by != "row")
    found = document("info", folder)
    assert found["compression"] == "zstd"
    assert found["settings"]["compression"] == {"zstd:9": "zstd:9/row"}.get(how, f"zstd:3/{by}")
    stored = found["stored"]
    assert (stored["by"], stored["cheap_random_access"]) == (by, by == "row")
    plain = document("info", write(tmp_path / "plain", None))
    assert plain["stored"] is None
    assert stored["ratio"] == pytest.approx(plain["bytes"] / found["bytes"], rel=0.15)
    sizes = {field["name"]: field["mean_bytes"] for field in found["fields"]}
    assert sizes["text"] == pytest.approx(len(WORDS) + 4.7, abs=0.1)


def test_the_others_read_them(tmp_path: Path, run: Any, document: Any) -> None:
    folder = write(tmp_path / "d", None)
    write(folder, "zstd", 400, mode="append")
    write(folder, "zstd/chunk", 800, mode="append")
    assert document("info", folder)["compression"] == "zstd"
    assert [chunk["rows"] for chunk in document("ls", folder)["chunks"]] == [400, 400, 400]
    assert run("verify", folder)[0] == 0
    for row in (3, 403, 1_199):
        code, out, _ = run("get", folder, row)
        assert code == 0
        assert f"{row}: {WORDS[:40]}" in out


def test_optimize_compresses(tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "compressing.py").write_text("def same(path):\n    return path[-1] * 300\n")
    (tmp_path / "list.txt").write_text("\n".join("abc" * 100))
    monkeypatch.chdir(tmp_path)
    assert len(find_inputs("@list.txt", "d", None)) == 300
    for name, more in {"plain": [], "packed": ["--compression", "zstd:5/frame"]}.items():
        made = run("optimize", "compressing:same", "@list.txt", name, "--workers", 0, *more)
        assert made[0] == 0
    sizes = [
        sum(path.stat().st_size for path in (tmp_path / name / "chunks").iterdir())
        for name in ("plain", "packed")
    ]
    assert sizes[1] < sizes[0] / 4
    assert list(ms.StreamingDataset("packed")) == list(ms.StreamingDataset("plain"))
    code, _, err = run("optimize", "compressing:same", "@list.txt", "x", "--compression", "gzip")
    assert code in (1, 2)
    assert "'zstd:LEVEL'" in err
