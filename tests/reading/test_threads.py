"""Threads that read one dataset at the same time."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import millstream as ms
from millstream.reading import chunks

ROWS = 200


@pytest.fixture
def many_switches() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("many_switches")
def test_threads_share_the_open_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ms.optimize(
        lambda i: i, range(ROWS), tmp_path / "d", chunk_size=5, num_workers=0, verbose=False
    )
    monkeypatch.setattr(chunks, "MAX_OPEN", 1)  # each chunk that is opened closes another
    dataset = ms.StreamingDataset(tmp_path / "d")

    def read(first: int) -> None:
        for n in range(400):
            rows = [(first + n) % 10, ROWS // 2 + (first + n) % 10]  # in four chunks
            assert dataset[rows] == rows

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(read, range(0, 20, 5))) == [None] * 4
    maps = Path("/proc/self/maps")
    if maps.exists():
        assert maps.read_text().count(str(tmp_path)) == 1
