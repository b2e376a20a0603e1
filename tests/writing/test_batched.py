"""optimize(batched=True): columns give the dataset that their rows one by one give."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kills import tree
from strategies import same

import millstream as ms
from millstream import errors
from millstream.cli import main
from millstream.writing import rows

pytestmark = pytest.mark.timeout(200)


def write(folder: Path, fn: Any, inputs: Any, **options: Any) -> Any:
    options = {"num_workers": 0, "verbose": False, "chunk_bytes": "20KB", **options}
    return ms.optimize(fn, inputs, folder, **options)


def columns(span: tuple[int, int]) -> dict[str, Any]:
    ids = np.arange(*span)
    return {
        "id": ids.tolist(),
        "n": ids.astype(np.int16),
        "v": (ids[:, None] + np.arange(3)).astype(np.float32),
        "text": [f"text {i}" * (i % 5) for i in range(*span)],
        "ragged": [np.zeros(i % 3) for i in range(*span)],
    }


def one_by_one(span: tuple[int, int]) -> Iterator[dict[str, Any]]:
    for i in range(*span):
        yield {
            "id": i,
            "n": np.int16(i),
            "v": (i + np.arange(3)).astype(np.float32),
            "text": f"text {i}" * (i % 5),
            "ragged": np.zeros(i % 3),
        }


def bodies(folder: Path) -> set[bytes]:
    """The chunks, without the 64 bytes that say which job they are of."""
    return {path.read_bytes()[64:] for path in (folder / "chunks").iterdir()}


SPANS = [(a, min(a + 130, 2_000)) for a in range(0, 2_000, 130)]


def test_the_same_bytes_as_one_by_one(tmp_path: Path) -> None:
    write(tmp_path / "rows", one_by_one, SPANS)
    report = write(tmp_path / "columns", columns, SPANS, batched=True)
    assert (report.samples, report.chunks > 5) == (2_000, True)
    assert bodies(tmp_path / "columns") == bodies(tmp_path / "rows")
    write(tmp_path / "two", columns, SPANS, batched=True, num_workers=2)
    assert tree(tmp_path / "two") == tree(tmp_path / "columns")
    found = list(ms.StreamingDataset(tmp_path / "columns"))
    assert all(map(same, found, one_by_one((0, 2_000))))


@given(lengths=st.lists(st.integers(0, 40), min_size=1).filter(any), part=st.integers(200, 9_000))
def test_where_batches_end_leaves_no_trace(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], part: int
) -> None:
    folder = tmp_path_factory.mktemp("batches")
    total = sum(lengths)

    def yielding(_: int) -> Iterator[Any]:
        at = 0
        for length in lengths:
            yield columns((at, at + length))
            at += length

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "PART_BYTES", part)
        write(folder / "many", yielding, range(1), batched=True, chunk_bytes="4KB")
    write(folder / "one", lambda _: columns((0, total)), range(1), batched=True, chunk_bytes="4KB")
    assert bodies(folder / "many") == bodies(folder / "one")


def test_buffers_may_be_reused(tmp_path: Path) -> None:
    def fn(_: int) -> Iterator[Any]:
        buffer = np.zeros((2, 2))
        for i in range(3):
            buffer[:] = i
            yield buffer

    write(tmp_path / "d", fn, [0], batched=True)
    assert [int(a[0]) for a in ms.StreamingDataset(tmp_path / "d")] == [0, 0, 1, 1, 2, 2]


def test_a_batch_may_be_empty_or_none(tmp_path: Path) -> None:
    def fn(n: int) -> Any:
        return {"a": np.arange(n)} if n != 1 else None

    assert write(tmp_path / "d", fn, [0, 1, 2, 0, 3], batched=True).samples == 5
    with pytest.raises(errors.UsageError, match="none of the 2 inputs gave a sample"):
        write(tmp_path / "e", fn, [0, 1], batched=True)


@pytest.mark.parametrize(
    ("fn", "words"),
    [
        (lambda i: {"a": np.zeros(3), "b": ["x"] * (3 + (i == 5))}, "'b' .*4 rows.*'a' has 3"),
        (lambda i: np.zeros(3, "f4" if i != 5 else "f8"), "'value' is scalar.*<f8.*<f4"),
        (lambda i: {"a": [i] * 3} if i != 5 else {"a": [0, "x", 0]}, "'a' is str.* int"),
        (lambda i: [1] if i != 5 else "text", "'value' of a batch is a str"),
    ],
)
def test_what_is_wrong_names_its_input(tmp_path: Path, fn: Any, words: str) -> None:
    with pytest.raises(errors.SampleError, match=rf"input 5 \(5\).*{words}"):
        write(tmp_path / "d", fn, range(9), batched=True)


def test_it_is_part_of_the_job(tmp_path: Path) -> None:
    write(tmp_path / "d", columns, SPANS, batched=True)
    with pytest.raises(errors.OutputNotEmpty):
        write(tmp_path / "d", columns, SPANS)
    with pytest.raises(errors.UsageError, match="batched is 1"):
        write(tmp_path / "e", columns, SPANS, batched=1)


def test_from_the_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("made.py").write_text(
        "def numbers(text):\n    return {'n': list(map(int, text.split()))}\n"
    )
    Path("list.txt").write_text("1 2 3\n4\n")
    assert main(["optimize", "made:numbers", "@list.txt", "d", "--batched", "--workers", "0"]) == 0
    assert re.search(r"\b4 samples", capsys.readouterr().out)
    assert [sample["n"] for sample in ms.StreamingDataset("d")] == [1, 2, 3, 4]
