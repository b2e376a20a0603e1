"""Generators are taken lazily: how far one runs ahead of the disk, and what is in memory."""

from __future__ import annotations

import tracemalloc
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import millstream as ms
from millstream.writing import rows as writing_rows
from millstream.writing import token_rows
from millstream.writing.segment import SegmentWriter

ROW_BYTES = 10_000
PART_BYTES = 200_000


class Watched(np.ndarray):
    """An array that can be counted while it lives."""


class Generator:
    """Yields so many rows; notes how many were asked for, written, and alive at the same time."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.yielded = self.written = self.ahead = self.alive = self.most_alive = 0

    def __call__(self, count: int) -> Iterator[Any]:
        for number in range(count):
            row = np.full(ROW_BYTES // 2, number % 1_000, np.uint16)
            self.alive += 1
            weakref.finalize(row, self.died)
            self.most_alive = max(self.most_alive, self.alive)
            self.yielded += 1
            self.ahead = max(self.ahead, self.yielded - self.written)
            yield {"a": row, "b": number} if self.kind == "samples" else row
            del row

    def died(self) -> None:
        self.alive -= 1


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing_rows, "PART_BYTES", PART_BYTES)
    monkeypatch.setattr(token_rows, "PART_BYTES", PART_BYTES)


@pytest.mark.parametrize("kind", ["samples", "arrays", "tokens"])
def test_a_generator_is_a_part_ahead_of_the_disk_and_no_more(
    tmp_path: Path, kind: str, small_parts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator, add = Generator(kind), SegmentWriter.add

    def counting(self: SegmentWriter, part: Any) -> None:
        add(self, part)
        generator.written += part.rows

    monkeypatch.setattr(SegmentWriter, "add", counting)
    count = 40 * PART_BYTES // ROW_BYTES
    report = ms.optimize(
        lambda count: generator(count), [count], tmp_path / "d", num_workers=0, verbose=False,
        chunk_bytes=PART_BYTES * 4, item_loader=ms.TokensLoader() if kind == "tokens" else None,
    )  # fmt: skip
    assert generator.yielded == generator.written == report.samples == count
    assert report.chunks > 8
    assert 1 < generator.ahead <= PART_BYTES // ROW_BYTES + 1
    # What was yielded is not kept: the one before may live until the next is there.
    assert generator.most_alive <= 2


def peak(folder: Path, count: int, kind: str) -> int:
    """The most bytes that Python had at once while a generator of so many rows was written."""
    loader = ms.TokensLoader() if kind == "tokens" else None
    ms.optimize(Generator(kind), [1], folder / "warm", num_workers=0, verbose=False)
    tracemalloc.start()
    try:
        ms.optimize(
            Generator(kind), [count], folder / str(count), num_workers=0, verbose=False,
            chunk_bytes=PART_BYTES * 4, item_loader=loader,
        )  # fmt: skip
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", ["samples", "tokens"])
def test_memory_is_that_of_parts_and_a_chunk_however_many_rows(
    tmp_path: Path, kind: str, small_parts: None
) -> None:
    few, many = (peak(tmp_path, count, kind) for count in (800, 4_000))
    assert many - few < 3_200 * ROW_BYTES / 20
    assert many < 40 * PART_BYTES
