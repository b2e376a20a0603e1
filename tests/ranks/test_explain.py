"""What a plan says it costs is what its steps need."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ranked_data import KINDS, ROWS, opened

import millstream as ms
from millstream import errors
from millstream.versions import load_version


def sizes(place: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Where chunks end, in rows, and their bytes."""
    chunks = load_version(ms.store.LocalStore(place / name)).manifest.chunks
    return np.cumsum(chunks.rows), chunks.sizes.astype(np.int64)


def naive(place: Path, plan: Any, ranks: list[int]) -> tuple[set[int], int, int]:
    """By going through the steps: the chunks read, the peak of their bytes, those of step 0."""
    ends, nbytes = sizes(place, "a")
    used = [
        {int(c) for rank in ranks for c in np.searchsorted(ends, plan.batch(step, rank), "right")}
        for step in range(plan.steps)
    ]
    chunks = set().union(*used)
    first = {c: min(s for s, of in enumerate(used) if c in of) for c in chunks}
    last = {c: max(s for s, of in enumerate(used) if c in of) for c in chunks}
    at_once = [
        sum(int(nbytes[c]) for c in chunks if first[c] <= step <= last[c])
        for step in range(plan.steps)
    ]
    return chunks, max(at_once), len(used[0])


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("rank", [None, 0, 2])
def test_it_is_what_the_steps_need(place: Path, shuffle: bool, rank: int | None) -> None:
    dataset = opened(place, shuffle=shuffle, lanes=3, shuffle_window=20)
    plan = dataset.plan(batch_size=4, ranks=3, epoch=1)
    found = plan.explain(rank)
    chunks, peak, first = naive(place, plan, [0, 1, 2] if rank is None else [rank])
    _, nbytes = sizes(place, "a")
    assert found.chunks == found.requests == len(chunks)
    assert found.chunk_bytes == sum(int(nbytes[c]) for c in chunks)
    assert peak <= found.peak_bytes <= found.chunk_bytes
    assert first <= found.first_batch_chunks <= found.chunks
    if not shuffle:
        # One step may hold what one position before it needs no more.
        assert found.first_batch_chunks == first
        assert found.peak_bytes <= peak
    assert found.samples == plan.steps * 4 * (3 if rank is None else 1)
    assert (found.steps, found.left_out, found.repeated) == (18, ROWS["a"] - 216, 0)
    assert "18 of 4 samples a rank" in str(found)


@pytest.mark.parametrize("kind", ["raw", "mixed"])
def test_files_as_they_are_have_no_chunks_to_count(place: Path, kind: str) -> None:
    with pytest.raises(errors.UnsupportedError, match="files as they are lie in none"):
        opened(place, kind).plan(batch_size=8, ranks=2, pad=True).explain()


@pytest.mark.parametrize("kind", sorted({*KINDS} - {"raw", "mixed"}))
def test_every_kind_of_written_dataset_has_one(place: Path, kind: str) -> None:
    plan = opened(place, kind).plan(batch_size=8, ranks=2, pad=True)
    whole, half = plan.explain(), plan.explain(1)
    names = ["tokens"] if kind == "tokens" else ["a", "b"] if kind != "plain" else ["a"]
    everything = sum(int(sizes(place, name)[1].sum()) for name in names)
    assert whole.chunk_bytes == everything
    assert 0 < half.chunk_bytes <= whole.chunk_bytes
    assert 0 < whole.peak_bytes <= whole.chunk_bytes
    assert whole.samples == plan.epoch.length
    assert whole.repeated == plan.steps * 16 - plan.epoch.length
    assert ms.StreamingDataLoader(opened(place, kind), batch_size=8).plan().explain().steps


def test_a_run_that_went_on_needs_what_is_left(place: Path) -> None:
    dataset = opened(place, shuffle=False)
    rest = dataset.plan(batch_size=7, start=200).explain()
    assert (rest.chunks, rest.steps, rest.samples) == (2, 4, 27)


def test_a_source_that_begins_anew_is_counted_once(place: Path) -> None:
    a = opened(place)
    b = ms.StreamingDataset(place / "b", shuffle=True, shuffle_window=64)
    both = ms.ParallelStreamingDataset([a, b], length=ROWS["a"])
    found = both.plan(batch_size=5, drop_last=False).explain()
    assert found.chunk_bytes == sum(int(sizes(place, name)[1].sum()) for name in ROWS)
    endless = ms.ParallelStreamingDataset([a, b], length=float("inf")).plan(batch_size=5)
    with pytest.raises(errors.UsageError, match="no end"):
        endless.explain()
    with pytest.raises(errors.UsageError, match="rank 3 of 2"):
        a.plan(batch_size=1, ranks=2).explain(3)
