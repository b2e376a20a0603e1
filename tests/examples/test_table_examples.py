"""The examples about tables and about mixtures of tokens."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from running import run, tried
from sklearn.datasets import load_digits

import millstream as ms

pytestmark = pytest.mark.timeout(200)

DAY = date(2024, 2, 29)
BLOCK = 257


def digits(start: int, stop: int) -> pa.Table:
    """Real images of digits, and beside them a column of each type that needs thought."""
    found = load_digits()
    pixels, labels = found.data[start:stop].astype(np.int8), found.target[start:stop]
    numbers = range(start, stop)
    return pa.table({
        "label": labels,
        "even": labels % 2 == 0,
        "pixels": pa.FixedSizeListArray.from_arrays(pa.array(pixels.ravel()), 64),
        "strokes": pa.array([row[row > 8].tolist() for row in pixels], pa.list_(pa.int16())),
        "png": pa.array([row.tobytes() for row in pixels]),
        "name": pa.array([None if n % 7 == 0 else f"digit {n}" for n in numbers]),
        "class": pa.array([f"class {label}" for label in labels]).dictionary_encode(),
        "weight": pa.array([None if n % 5 == 0 else n / 2 for n in numbers], pa.float32()),
        "day": pa.array([DAY + timedelta(days=n) for n in numbers]),
        "at": pa.array([datetime(2024, 2, 29, n % 24) for n in numbers], pa.timestamp("ms")),
        "words": pa.array([["a", "b"][: n % 3] for n in numbers]),
        "meta": pa.array([{"n": n, "none": None} for n in numbers]),
    })  # fmt: skip


def test_parquet_to_chunks(tmp_path: Path) -> None:
    """Two files of several row groups; the values are those that pyarrow reads."""
    tables = [digits(0, 1_000), digits(1_000, 1_500)]
    (tmp_path / "tables").mkdir()
    for number, table in enumerate(tables):
        parquet.write_table(table, tmp_path / "tables" / f"{number}.parquet", row_group_size=300)
    said = run("parquet_to_chunks.py", tmp_path / "tables", tmp_path / "d")
    assert "1,500 samples" in said
    rows = pa.concat_tables(tables, promote_options="default").to_pylist()
    found = ms.StreamingDataset(tmp_path / "d")
    assert len(found) == len(rows)
    for sample, row in zip(found, rows, strict=True):
        for name in ("label", "even", "png", "class", "words", "meta"):
            assert sample[name] == row[name]
        for name in ("pixels", "strokes"):
            assert sample[name].tolist() == row[name]
        assert sample["name"] == (row["name"] or "")
        wanted = np.nan if row["weight"] is None else row["weight"]
        assert np.array_equal(sample["weight"], wanted, equal_nan=True)
        assert date(1970, 1, 1) + timedelta(days=int(sample["day"])) == row["day"]
        assert datetime(1970, 1, 1) + timedelta(milliseconds=int(sample["at"])) == row["at"]
    assert found[0]["pixels"].dtype == np.int8
    assert found[0]["strokes"].dtype == np.int16
    labels = np.concatenate([b["label"] for b in ms.StreamingDataset(tmp_path / "d").batches(64)])
    assert np.array_equal(labels, load_digits().target[:1_500])


def test_parquet_of_one_file_compressed(tmp_path: Path) -> None:
    parquet.write_table(digits(0, 400), tmp_path / "t.parquet")
    run("parquet_to_chunks.py", tmp_path / "t.parquet", tmp_path / "a", "--num-workers", 0)
    run("parquet_to_chunks.py", tmp_path / "t.parquet", tmp_path / "b", "--compression", "zstd")
    sizes = [sum(p.stat().st_size for p in (tmp_path / n).rglob("chunks/*")) for n in "ab"]
    assert 0 < sizes[1] < 0.7 * sizes[0]
    both = (ms.StreamingDataset(tmp_path / name, fields=["png", "meta"])[:] for name in "ab")
    assert next(both) == next(both)


def test_empty_cells_of_numbers_have_to_be_thought_about(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"count": [1, None, 3]}), tmp_path / "t.parquet")
    done = tried("parquet_to_chunks.py", tmp_path / "t.parquet", tmp_path / "d")
    assert done.returncode == 1
    assert "column 'count' (int64) has empty cells" in done.stderr


def test_without_pyarrow_it_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "pyarrow.py").write_text("raise ModuleNotFoundError('pyarrow')")
    done = tried("parquet_to_chunks.py", "t.parquet", tmp_path / "d", before=tmp_path)
    assert done.returncode == 1
    assert done.stderr.strip().endswith("pip install pyarrow")
    assert "Traceback" not in done.stderr


def test_mix_tokens(tmp_path: Path) -> None:
    """The sources of this project as code, what it says as text."""
    root = Path(__file__).parents[2]
    text, code = f"{root}/docs/*.md", f"{root}/src/**/*.py"
    said = run(
        "mix_tokens.py", tmp_path / "d", "--text", text, "--code", code,
        "--context", BLOCK - 1, "--weights", 0.3, 0.7,
    )  # fmt: skip
    for name, files in (("text", root.glob("docs/*.md")), ("code", root.glob("src/**/*.py"))):
        documents = ms.StreamingDataset(tmp_path / "d" / name)
        for path, tokens in zip(sorted(files, key=str), documents, strict=True):
            assert tokens[:-1].astype(np.uint8).tobytes() == path.read_bytes()
            assert tokens[-1] == 256
    lengths = [
        len(ms.StreamingDataset(tmp_path / "d" / n, item_loader=ms.TokensLoader(block_size=BLOCK)))
        for n in ("text", "code")
    ]
    counts = [int(c.replace(",", "")) for c in re.findall(r": ([\d,]+) blocks, ", said)]
    total = sum(counts)
    # The set that ends first is read to its end; the shares are those asked for, to a block a lane.
    assert any(count == length for count, length in zip(counts, lengths, strict=True))
    assert abs(counts[0] - 0.3 * total) < 16
    [stopped] = re.findall(r"stopped after blocks of each: (\d+) (\d+)", said)
    assert 0 < sum(map(int, stopped)) < total
    assert f"the same {total:,} blocks in the same order" in said
