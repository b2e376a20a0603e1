"""Documents on their way into chunks: where they are cut; workers and kills leave no trace."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from documents import count_calls, documents, of_lengths, write
from hypothesis import given, settings
from hypothesis import strategies as st
from kills import live, tear, tree
from small_reader import small_dataset
from strategies import same

import millstream as ms
from millstream import TokensLoader
from millstream.errors import OutputNotEmpty, SampleError, UsageError
from millstream.format import Part
from millstream.store import LocalStore
from millstream.versions import load_version
from millstream.writing import tasks, token_rows
from millstream.writing.cuts import Limits
from millstream.writing.token_rows import TokenRows


def counts(folder: Path) -> list[int]:
    """The tokens of each chunk."""
    tokens = load_version(LocalStore(folder)).manifest.chunks.tokens
    assert tokens is not None
    return tokens.tolist()


def expected(lengths: list[int], most: int) -> list[list[int]]:
    """The rows of each chunk: the rule of docs/tokens.md, written once more."""
    chunks: list[list[int]] = []
    for length in lengths:
        for start in range(0, max(length, 1), most):
            row = min(most, length - start)
            if not chunks or sum(chunks[-1]) + row > most:
                chunks.append([])
            chunks[-1].append(row)
    return chunks


@settings(max_examples=30)
@given(documents(), st.integers(1, 90))
def test_documents_are_whole_unless_they_are_longer_than_a_chunk(
    docs: list[np.ndarray], most: int
) -> None:
    chunks = expected([len(doc) for doc in docs], most)
    with tempfile.TemporaryDirectory() as name:
        folder = write(Path(name) / "d", docs, chunk_size=most)
        assert counts(folder) == [sum(rows) for rows in chunks]
        rows = small_dataset(folder)
    assert [len(row) for row in rows] == [length for some in chunks for length in some]
    assert same(np.concatenate(rows), np.concatenate(docs))


@settings(max_examples=15)
@given(st.lists(st.integers(0, 9_000), min_size=1, max_size=8), st.integers(4_000, 9_000))
def test_a_chunk_is_at_most_so_many_bytes(lengths: list[int], most: int) -> None:
    docs = of_lengths(lengths, "<i4")
    with tempfile.TemporaryDirectory() as name:
        folder = write(Path(name) / "d", docs, chunk_bytes=most)
        sizes = load_version(LocalStore(folder)).manifest.chunks.sizes.tolist()
        rows = small_dataset(folder)
    assert max(sizes) <= most
    assert same(np.concatenate(rows), np.concatenate(docs))


def test_chunk_size_alone_knows_no_bytes(tmp_path: Path) -> None:
    docs = [np.zeros(1_000_000, np.int64)] * 9
    assert counts(write(tmp_path / "d", docs, chunk_size=9_000_000)) == [9_000_000]
    assert counts(write(tmp_path / "e", docs)) == [7_000_000, 2_000_000]  # 64 MB by default


@pytest.mark.parametrize("workers", [1, 3])
def test_the_number_of_workers_leaves_no_trace(tmp_path: Path, workers: int) -> None:
    docs = of_lengths([7, 900, 0, 25, 3_000, 1, 80], "<u2")

    def fn(i: int) -> Iterator[Any]:
        yield from docs[i : i + 1 + i % 2]

    for folder, number in ((tmp_path / "a", 0), (tmp_path / "b", workers)):
        ms.optimize(
            fn, range(7), folder, item_loader=TokensLoader(), chunk_size=1_000, num_workers=number,
            verbose=False,
        )  # fmt: skip
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


@dataclass
class Writer:
    """Notes the sizes of parts."""

    parts: list[Part] = field(default_factory=list)

    def add(self, part: Part) -> None:
        self.parts.append(part)


def test_a_long_document_is_written_down_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_rows, "PART_BYTES", 8_000)
    writer = Writer()
    rows = TokenRows(Limits(nbytes=1 << 40, tokens=1_000), writer)  # type: ignore[arg-type]
    rows.add(np.arange(100_500, dtype="<i8"), 5)
    rows.add(np.arange(3, dtype="<i8"), 6)
    rows.flush()
    assert (rows.count, rows.first_input) == (2, 5)
    assert max(part.tokens[0].data.nbytes for part in writer.parts) == 8_000
    joins = np.concatenate([part.tokens[0].joins for part in writer.parts])
    assert joins.tolist() == [False, *[True] * 100, False]


def test_parts_leave_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    docs = of_lengths([700, 30, 9_000, 5, 5, 2_000, 40], "<u2")
    write(tmp_path / "a", docs, chunk_size=1_500)
    monkeypatch.setattr(token_rows, "PART_BYTES", 500)
    write(tmp_path / "b", docs, chunk_size=1_500)
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


def test_a_document_takes_few_calls(tmp_path: Path) -> None:
    def calls(folder: Path, count: int) -> int:
        doc = np.zeros(1_000, np.uint16)
        return count_calls(lambda: write(folder, [(doc for _ in range(count))], chunk_size=10**6))

    write(tmp_path / "first", [np.zeros(3, int)])  # which imports what is needed
    few, many = calls(tmp_path / "few", 100), calls(tmp_path / "many", 1_100)
    assert many - few <= 6 * 1_000


def test_tensors_are_stored_as_they_are(tmp_path: Path) -> None:
    docs = [torch.arange(n, dtype=torch.int32) for n in (5, 0, 7)]
    dataset = ms.StreamingDataset(write(tmp_path / "d", docs))
    assert [doc.dtype for doc in dataset] == [torch.int32] * 3
    assert torch.equal(torch.cat(list(dataset)), torch.cat(docs))


def test_a_list_of_numbers_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SampleError, match=r"input 0 .*np\.array\(ids, np\.uint16\)"):
        write(tmp_path / "d", [[1, 2, 3]])


def test_arguments_that_make_no_sense(tmp_path: Path) -> None:
    docs = of_lengths([3])
    with pytest.raises(UsageError, match="chunk_size is 0, expected 1 to"):
        write(tmp_path / "d", docs, chunk_size=0)
    with pytest.raises(UsageError, match="chunk_bytes is 100, expected 4 kB or more for tokens"):
        write(tmp_path / "d", docs, chunk_bytes=100)
    with pytest.raises(UsageError, match="item_loader is 'tokens', expected TokensLoader"):
        ms.optimize(docs.__getitem__, range(1), tmp_path, item_loader="tokens")  # type: ignore[arg-type]
    for size in (0, -1, 2.5, True, "8"):
        with pytest.raises(UsageError, match="block_size is"):
            TokensLoader(block_size=size)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="return_boundaries is 'yes'"):
        TokensLoader(4, return_boundaries="yes")  # type: ignore[arg-type]


def test_the_same_job_without_a_loader_is_another(tmp_path: Path) -> None:
    docs = of_lengths([3, 4])
    write(tmp_path / "d", docs, chunk_size=5)
    with pytest.raises(OutputNotEmpty, match="item_loader"):
        ms.optimize(
            docs.__getitem__, range(2), tmp_path / "d", chunk_size=5, num_workers=0, verbose=False
        )


# Kills ----------------------------------------------------------------------------------------

KILLED = of_lengths([400, 0, 1_700, 20, 900, 3], "<u2")


def job(folder: Path) -> None:
    write(folder, KILLED, chunk_size=600)


@pytest.mark.timeout(100)
def test_killed_before_a_change_to_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "MAX_TASKS", 3)
    undisturbed = live(lambda: job(tmp_path / "0"), tmp_path)
    whole, chance = tree(tmp_path / "0"), random.Random(0)
    for number in range(1, len(undisturbed.changes) + 1, 3):
        folder = tmp_path / f"{number}"
        life = live(lambda folder=folder: job(folder), tmp_path, number)  # type: ignore[misc]
        assert life.killed
        tear(life, chance)
        job(folder)
        assert tree(folder) == whole
