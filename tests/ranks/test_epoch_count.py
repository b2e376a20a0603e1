"""What a loader makes of the epochs that frameworks count, by when they tell them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ranked_data import numbers, opened

import millstream as ms


def loader(place: Path, **options: Any) -> ms.StreamingDataLoader:
    return ms.StreamingDataLoader(opened(place), batch_size=50, **options)


@pytest.fixture(scope="module")
def epochs(place: Path) -> list[list[int]]:
    return [[i for b in one for i in numbers(b)] for one in [loader(place)] for _ in range(4)]


def read(batches: Any, steps: int | None = None) -> list[int]:
    found = []
    for step, batch in enumerate(batches, 1):
        found += numbers(batch)
        if step == steps:
            break
    return found


@pytest.mark.parametrize("workers", [0, 1])
def test_told_before_each_epoch(place: Path, epochs: list[list[int]], workers: int) -> None:
    one = loader(place, num_workers=workers)
    for epoch in (0, 1, 3, 2):
        one.sampler.set_epoch(epoch)
        assert read(one) == epochs[epoch]
    one.sampler.set_epoch(2)
    assert read(one, 2) == epochs[2][:100]
    one.sampler.set_epoch(2)  # left early, and once more
    assert read(one) == epochs[2]


@pytest.mark.parametrize("workers", [0, 1])
def test_told_after_it_has_begun(place: Path, epochs: list[list[int]], workers: int) -> None:
    """As Lightning does where it resumes after an epoch, and loads no state."""
    one = loader(place, num_workers=workers)
    batches = iter(one)
    one.sampler.set_epoch(2)
    assert one.state_dict()["epoch"] == 0
    assert read(batches) == epochs[2]
    assert one.coverage().exact
    one.sampler.set_epoch(3)
    assert read(one) == epochs[3]


def test_told_of_an_epoch_that_has_ended(place: Path, epochs: list[list[int]]) -> None:
    """As Lightning does with a checkpoint of the validation after the last batch."""
    before = loader(place)
    read(before)
    one = loader(place)
    one.load_state_dict(before.state_dict())
    iter(one)
    one.sampler.set_epoch(0)
    one.sampler.set_epoch(1)
    assert read(one) == epochs[1]


@pytest.mark.parametrize("first", [0, 1])
def test_a_loaded_state_is_where_counting_begins(
    place: Path, epochs: list[list[int]], first: int
) -> None:
    """Fabric counts from 0 in each process; a loop of one's own may count on."""
    before = loader(place)
    read(before)
    read(before, 2)
    one = loader(place)
    one.load_state_dict(before.state_dict())
    got = []
    for epoch in range(first, first + 3):
        one.sampler.set_epoch(epoch)
        got.append(read(one))
    assert got == [epochs[1][100:], epochs[2], epochs[3]]
