"""What a loader's words mean: done, iter, set_epoch, len, remaining, arguments, randomness."""

from __future__ import annotations

import copy
import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import millstream as ms
from millstream import errors

pytestmark = [
    pytest.mark.timeout(200),
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),
]
COUNT = 103


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("data") / "d"
    ms.optimize(
        lambda i: {"id": i}, range(COUNT), place, chunk_size=9, num_workers=0, verbose=False
    )
    return place


def loader(folder: Path, batch_size: int = 10, **options: Any) -> ms.StreamingDataLoader:
    dataset = ms.StreamingDataset(folder, shuffle=True)
    return ms.StreamingDataLoader(dataset, batch_size=batch_size, **options)


def ids(batches: Any) -> list[int]:
    return [i for batch in batches for i in batch["id"].tolist()]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_batch_is_done_when_next_has_returned_it(folder: Path, workers: int) -> None:
    one = loader(folder, num_workers=workers, prefetch_factor=4 if workers else None)
    assert one.state_dict()["position"] == 0
    batches = iter(one)
    assert one.state_dict()["position"] == 0  # whatever is made ahead
    for done in range(1, 11):
        next(batches)
        assert (one.state_dict()["epoch"], one.state_dict()["position"]) == (0, 10 * done)
    next(batches)
    assert (one.state_dict()["epoch"], one.state_dict()["position"]) == (1, 0)
    assert next(batches, None) is None
    assert (one.state_dict()["epoch"], one.state_dict()["position"]) == (1, 0)


def test_every_iter_is_the_next_epoch_but_the_first_after_a_load(folder: Path) -> None:
    fresh = loader(folder)
    epochs = [ids(fresh) for _ in range(4)]
    assert len({tuple(epoch) for epoch in epochs}) == 4
    again = loader(folder)
    batches = iter(again)
    for _ in range(3):
        next(batches)
    resumed = loader(folder)
    resumed.load_state_dict(again.state_dict())
    assert [ids(resumed) for _ in range(3)] == [epochs[0][30:], epochs[1], epochs[2]]
    # A load in the middle of an epoch counts for the next iter, not for the one under way.
    begun = iter(resumed)
    next(begun)
    resumed.load_state_dict(again.state_dict())
    assert ids(resumed) == epochs[0][30:]


def test_set_epoch_overrides_and_keeps_the_place_of_a_loaded_state(folder: Path) -> None:
    epochs = [ids(one) for one in [loader(folder)] for _ in range(4)]
    one = loader(folder)
    one.set_epoch(3)
    assert one.state_dict()["epoch"] == 3  # a state that is saved now goes on there
    assert ids(one) == epochs[3]
    middle = loader(folder)
    middle.set_epoch(1)
    next(iter(middle))
    saved = middle.state_dict()
    for epoch, expected in ((1, epochs[1][10:]), (2, epochs[2])):
        resumed = loader(folder)
        resumed.load_state_dict(saved)
        resumed.set_epoch(epoch)  # as training loops do before each epoch
        assert ids(resumed) == expected
    middle.set_epoch(1)  # not loaded: from its beginning
    assert ids(middle) == epochs[1]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_newer_iterator_ends_the_older_one(folder: Path, workers: int) -> None:
    one = loader(folder, num_workers=workers, persistent_workers=workers > 0)
    older = iter(one)
    next(older)
    newer = iter(one)
    with pytest.raises(errors.UsageError, match="newer one"):
        next(older)
    assert len(ids(newer)) == COUNT
    assert one.coverage().exact


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_ends_an_iterator_and_not_the_epoch(folder: Path, workers: int) -> None:
    repaired = folder.with_name(f"repaired-{workers}")

    def fail_at_first(sample: Any) -> Any:
        if sample["id"] == 50 and not repaired.exists():
            raise ValueError("fifty")
        return sample

    dataset = ms.StreamingDataset(folder, transform=fail_at_first)
    one = ms.StreamingDataLoader(dataset, batch_size=10, num_workers=workers)
    batches = iter(one)
    done = ids(next(batches) for _ in range(5))
    with pytest.raises(errors.FunctionError):
        next(batches)
    for _ in range(2):  # it neither pretends to have come to its end nor leaves a batch out
        with pytest.raises(errors.UsageError, match="load_state_dict"):
            next(batches)
    assert (one.state_dict()["epoch"], one.state_dict()["position"]) == (0, 50)
    repaired.touch()
    one.load_state_dict(one.state_dict())
    assert done + ids(one) == list(range(COUNT))
    repaired.unlink()


def test_a_finished_iterator_moves_nothing_any_more(folder: Path) -> None:
    one = loader(folder)
    batches = iter(one)
    next(batches)
    state = one.state_dict()
    assert len(ids(batches)) == COUNT - 10
    one.load_state_dict(state)
    assert next(batches, None) is None
    assert one.state_dict() == state


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_copy_of_a_loader_goes_on_by_itself(folder: Path, workers: int, copied: Any) -> None:
    one = loader(folder, num_workers=workers, persistent_workers=workers > 0)
    epochs = [ids(other) for other in [loader(folder)] for _ in range(2)]
    batches = iter(one)
    first = ids([next(batches)])
    other = copied(one)
    assert other.state_dict() == one.state_dict()
    assert ids(other) == epochs[1]
    assert first + ids(batches) == epochs[0]


def test_len_is_a_whole_epoch_and_remaining_is_the_rest(folder: Path) -> None:
    one = loader(folder)
    assert (len(one), one.remaining) == (11, 11)
    batches = iter(one)
    for done in range(1, 11):
        next(batches)
        assert (len(one), one.remaining) == (11, 11 - done)
    saved = one.state_dict()
    other = loader(folder, batch_size=2)
    other.load_state_dict(saved)
    assert (len(other), other.remaining) == (52, 2)
    assert len(list(other)) == 2
    assert other.remaining == 52
    next(batches)
    assert one.remaining == 11


@pytest.mark.parametrize("drop", [True, False])
@pytest.mark.parametrize("ranks", [1, 2, 3, 7])
def test_len_is_exact_on_every_rank(folder: Path, ranks: int, drop: bool) -> None:
    for rank in range(ranks):
        one = loader(folder, batch_size=3, rank=rank, ranks=ranks, drop_last=drop)
        assert len(list(one)) == len(one) == one.remaining
        assert one.state_dict()["epoch"] == 1


def test_a_dataset_is_not_changed_by_its_loaders(folder: Path) -> None:
    dataset = ms.StreamingDataset(folder)
    first = ms.StreamingDataLoader(dataset, batch_size=COUNT, shuffle=True)
    second = ms.StreamingDataLoader(dataset, batch_size=COUNT, shuffle=False)
    assert ids(first) != ids(second) == list(range(COUNT))
    assert [sample["id"] for sample in dataset] == list(range(COUNT))
    assert dataset.shuffle is None


def test_arguments_that_raise_say_what_to_do(folder: Path) -> None:
    for options, words in (
        ({"sampler": [1]}, "shuffle="),
        ({"batch_sampler": [[1]]}, "shuffle="),
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": None}, "batch_size"),
        ({"num_workers": -1}, "num_workers"),
        ({"timeout": -1}, "timeout"),
        ({"num_workers": 1, "prefetch_factor": 0}, "prefetch_factor"),
        ({"prefetch_factor": 2}, "num_workers from 1"),
        ({"persistent_workers": True}, "num_workers from 1"),
        ({"shuffle": False}, "shuffle is False for the loader and True"),
        ({"rank": 1}, "both"),
        ({"rank": 3, "ranks": 3}, "0 to 2"),
    ):
        with pytest.raises(errors.UsageError, match=words):
            loader(folder, **options)
    with pytest.raises(errors.UsageError, match=r"torch\.utils\.data\.DataLoader"):
        ms.StreamingDataLoader([1, 2, 3])  # type: ignore[arg-type]
    with pytest.raises(errors.UsageError, match="nothing was delivered"):
        loader(folder).coverage()


def test_arguments_without_effect_warn(folder: Path) -> None:
    with pytest.warns(UserWarning, match="multiprocessing_context"):
        loader(folder, num_workers=1, multiprocessing_context="fork")
    with pytest.warns(UserWarning, match="in_order"):
        loader(folder, in_order=False)
    pinned = loader(folder, pin_memory=True)
    if torch.accelerator.is_available():
        assert next(iter(pinned))["id"].is_pinned()
    else:
        with pytest.warns(UserWarning, match="no accelerator"):
            assert len(ids(pinned)) == COUNT


def test_torchs_attributes_are_there(folder: Path) -> None:
    one = loader(folder, num_workers=1, persistent_workers=True, prefetch_factor=3, timeout=60)
    assert isinstance(one, DataLoader)
    assert (one.batch_size, one.num_workers, one.prefetch_factor) == (10, 1, 3)
    assert (one.persistent_workers, one.timeout, one.drop_last) == (True, 60, False)


def draw(sample: Any) -> Any:
    return {"r": random.random(), "n": np.random.rand(), "t": torch.rand(1).item(), **sample}


def states() -> tuple[Any, ...]:
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()


def drawn(folder: Path, **options: Any) -> list[tuple[float, ...]]:
    dataset = ms.StreamingDataset(folder, shuffle=True, transform=draw)
    one = ms.StreamingDataLoader(dataset, batch_size=10, **options)
    batches = [batch for _ in range(2) for batch in one]
    return [row for b in batches for row in zip(*[b[k].tolist() for k in "rnt"], strict=True)]


def test_global_randomness_is_keyed_and_leaves_the_parent_alone(folder: Path) -> None:
    before = states()
    expected = drawn(folder)
    assert states() == before
    assert len(set(expected)) == 2 * COUNT  # no two batches, ranks or epochs draw the same
    assert drawn(folder, num_workers=2) == expected
    assert drawn(folder, num_workers=3, persistent_workers=True) == expected
    seeded = torch.Generator().manual_seed(7)
    state = seeded.get_state()
    assert drawn(folder, generator=seeded) != expected
    assert drawn(folder, generator=seeded, num_workers=1) == drawn(folder, generator=seeded)
    assert torch.equal(seeded.get_state(), state)
    assert states() == before


def test_ranks_and_resumed_runs_draw_differently_and_the_same(folder: Path) -> None:
    halves = [drawn(folder, rank=rank, ranks=2) for rank in range(2)]
    assert not set(halves[0]) & set(halves[1])
    dataset = ms.StreamingDataset(folder, shuffle=True, transform=draw)
    first = ms.StreamingDataLoader(dataset, batch_size=10)
    whole = [batch["r"].tolist() for batch in first]
    stopped = ms.StreamingDataLoader(dataset, batch_size=10)
    batches = iter(stopped)
    head = [next(batches)["r"].tolist() for _ in range(4)]
    resumed = ms.StreamingDataLoader(dataset, batch_size=10, num_workers=1)
    resumed.load_state_dict(stopped.state_dict())
    assert head + [batch["r"].tolist() for batch in resumed] == whole


def test_an_error_of_the_users_function_is_named_and_the_same_everywhere(folder: Path) -> None:
    def fail(sample: Any) -> Any:
        if sample["id"] == 50:
            raise ValueError("fifty")
        return sample

    told = []
    for workers in (0, 2):
        dataset = ms.StreamingDataset(folder, transform=fail)
        one = ms.StreamingDataLoader(dataset, batch_size=10, num_workers=workers)
        with pytest.raises(errors.FunctionError, match="ValueError: fifty") as caught:
            list(one)
        told.append(str(caught.value).splitlines()[0])
        assert one.state_dict()["position"] == 50
    assert told[0] == told[1]
    assert "epoch 0, step 5" in told[0]
