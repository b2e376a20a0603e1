"""The engine: the same batches whoever makes them, what is held stays, what costs what."""

from __future__ import annotations

import gc
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import millstream as ms
from millstream import errors
from millstream.execution import slots
from millstream.torch import loader as loaders
from millstream.torch.pace import MOST_STEPS

pytestmark = [
    pytest.mark.timeout(200),
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),
]
COUNT = 300


def make(i: int) -> dict[str, Any]:
    return {
        "id": i,
        "even": i % 2 == 0,
        "x": np.float32(i),
        "v": np.arange(6, dtype=np.float32).reshape(2, 3) * i,
        "raw": bytes([i % 256]) * (i * 7 % 900),
        "text": str(i),
        "t": torch.full((3,), i, dtype=torch.bfloat16),
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("data") / "d"
    ms.optimize(make, range(COUNT), place, chunk_size=37, num_workers=0, verbose=False)
    return place


def loader(folder: Path, batch_size: int = 16, **options: Any) -> ms.StreamingDataLoader:
    dataset = ms.StreamingDataset(folder, shuffle=True, **options.pop("dataset", {}))
    return ms.StreamingDataLoader(dataset, batch_size=batch_size, **options)


def same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    return type(one) is type(other) and one == other


def is_right(batch: Any) -> bool:
    """Whether a batch holds what `make` made of its ids."""
    made = [make(i) for i in batch["id"].tolist()]
    return (
        all(torch.equal(v, torch.from_numpy(m["v"])) for v, m in zip(batch["v"], made, strict=True))
        and batch["raw"] == [m["raw"] for m in made]
        and batch["text"] == [m["text"] for m in made]
        and torch.equal(batch["t"], torch.stack([m["t"] for m in made]))
        and batch["even"].tolist() == [m["even"] for m in made]
    )


WAYS: list[dict[str, Any]] = [
    {"num_workers": 1},
    {"num_workers": 3},
    {"num_workers": 2, "prefetch_factor": 5},
    {"num_workers": 2, "workers": "threads"},
]


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("batch_size", [1, 16, COUNT + 5])
def test_batches_are_the_same_whoever_makes_them(
    folder: Path, way: dict[str, Any], batch_size: int
) -> None:
    expected = list(loader(folder, batch_size))
    assert all(map(is_right, expected))
    one = loader(folder, batch_size, **way)
    assert all(same(*pair) for pair in zip(one, expected, strict=True))
    assert one.coverage().exact


@pytest.mark.parametrize("workers", [1, 2])
@settings(max_examples=4)
@given(data=st.data())
def test_held_batches_never_change(folder: Path, workers: int, data: st.DataObject) -> None:
    kept = data.draw(st.sets(st.integers(0, 37), max_size=25))
    views = data.draw(st.sets(st.integers(0, 37), max_size=10))
    held: dict[int, Any] = {}
    slices: list[tuple[torch.Tensor, list[Any]]] = []
    for n, batch in enumerate(loader(folder, 8, num_workers=workers)):
        if n in kept:
            held[n] = batch
        if n in views:
            slices.append((batch["v"][1:2, :, 0], batch["v"][1:2, :, 0].tolist()))
    assert all(map(is_right, held.values()))
    assert all(view.tolist() == values for view, values in slices)


def test_a_batch_is_the_consumers_own(folder: Path) -> None:
    for batch in loader(folder, num_workers=1):
        assert is_right(batch)
        for value in batch.values():
            if isinstance(value, torch.Tensor):
                value.zero_()


def calls_of(batches: Any, counted: int) -> Counter[str]:
    """The Python and C calls in this thread while so many batches are made."""
    next(batches)
    found: Counter[str] = Counter()

    def count(frame: Any, event: str, argument: Any) -> None:
        if event in ("call", "c_call"):
            found[frame.f_code.co_name if event == "call" else argument.__name__] += 1

    sys.setprofile(count)
    try:
        for _ in range(counted):
            next(batches)
    finally:
        sys.setprofile(None)
    return found


@pytest.mark.parametrize("workers", [0, 1])
def test_calls_a_batch_do_not_depend_on_its_size(tmp_path: Path, workers: int) -> None:
    ms.optimize(
        lambda i: {"id": i, "v": np.full(4, i, np.float32)}, range(30_000), tmp_path / "d",
        chunk_size=20_000, num_workers=0, verbose=False,
    )  # fmt: skip

    def calls(batch_size: int) -> int:
        one = loader(tmp_path / "d", batch_size, num_workers=workers)
        return calls_of(iter(one), 6).total()

    few, many = calls(10), calls(3_000)
    assert few < 6 * 250
    # Of the larger ones more are planned and hashed anew, which takes as long for any size.
    assert many < few + 6 * 250


def test_a_row_takes_few_calls(folder: Path) -> None:
    dataset = ms.StreamingDataset(folder, fields=["id", "x", "v"])
    list(dataset)

    def rows() -> Any:
        for i in range(40):
            yield dataset[i * 7]

    assert calls_of(rows(), 39).total() < 39 * 64


def test_slots_are_made_once_and_used_again(folder: Path, tmp_path: Path) -> None:
    def note(number: int) -> None:
        make_segment = slots.make_segment

        def counted(size: int) -> int:
            with (tmp_path / "made").open("a") as file:
                file.write(f"{size}\n")
            return make_segment(size)

        slots.make_segment = counted

    one = loader(folder, 4, num_workers=2, prefetch_factor=3, worker_init_fn=note)
    assert len(list(one.__iter__())) == COUNT // 4  # all held: a slot for each turn
    assert len((tmp_path / "made").read_text().split()) >= COUNT // 4 // MOST_STEPS
    (tmp_path / "made").unlink()
    for batch in loader(folder, 4, num_workers=2, prefetch_factor=3, worker_init_fn=note):
        assert is_right(batch)
    # One is held while the next is asked for; a batch larger than any before enlarges its slot.
    assert len((tmp_path / "made").read_text().split()) <= 2 * 2 * (3 + 1)


@pytest.fixture
def pinned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Pinning that copies, and notes in which thread."""
    threads: list[str] = []

    def pin(batch: Any) -> Any:
        threads.append(threading.current_thread().name)
        return {k: v.clone() if isinstance(v, torch.Tensor) else v for k, v in batch.items()}

    monkeypatch.setattr(loaders, "pinning", lambda: pin)
    return threads


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_pinned_by_a_thread_that_ends(
    folder: Path, pinned: list[str], workers: int
) -> None:
    before = threading.active_count()
    expected = list(loader(folder))
    one = loader(folder, num_workers=workers, pin_memory=True)
    for _ in range(2):
        one.set_epoch(0)
        assert all(same(*pair) for pair in zip(one, expected, strict=True))
    assert set(pinned) == {"millstream pins"}
    assert one.coverage().exact
    batches = iter(one)
    next(batches)
    assert one.state_dict()["position"] == 16  # what is pinned ahead does not count
    newer = iter(one)
    with pytest.raises(errors.UsageError, match="newer one"):
        next(batches)
    next(newer)
    del newer, batches, one
    gc.collect()
    assert threading.active_count() == before


def test_an_error_comes_through_the_pinning_thread(folder: Path, pinned: list[str]) -> None:
    def fail(sample: Any) -> Any:
        raise ValueError("no")

    one = loader(folder, dataset={"transform": fail}, pin_memory=True)
    batches = iter(one)
    with pytest.raises(errors.FunctionError, match="ValueError: no"):
        next(batches)
    with pytest.raises(errors.UsageError, match="load_state_dict"):
        next(batches)
    assert not pinned


def threads() -> set[threading.Thread]:
    gc.collect()
    return set(threading.enumerate())


@pytest.mark.parametrize("persistent", [False, True])
def test_threads_are_workers_of_this_process(folder: Path, persistent: bool) -> None:
    def transform(sample: Any, rng: np.random.Generator) -> Any:
        names.add(threading.current_thread().name)
        return {"id": sample["id"], "n": int(rng.integers(1 << 40))}

    names: set[str] = set()  # no process could add to it
    before, state = threads(), torch.get_rng_state()
    expected = list(loader(folder, dataset={"transform": transform}))
    names.clear()
    one = loader(
        folder, dataset={"transform": transform}, num_workers=2, workers="threads",
        persistent_workers=persistent,
    )  # fmt: skip
    for _ in range(2):
        one.set_epoch(0)
        assert all(same(*pair) for pair in zip(one, expected, strict=True))
        assert one.coverage().exact
        assert len(threads() - before) == (2 if persistent else 0)
    assert names == {"millstream worker 0", "millstream worker 1"}
    assert torch.equal(torch.get_rng_state(), state)
    next(iter(one))  # left early
    del one
    assert threads() == before


def test_errors_and_time_limits_of_threads(folder: Path) -> None:
    before, gate = threads(), threading.Event()

    def transform(sample: Any) -> Any:
        if sample["id"] == 40:
            raise ValueError("forty")
        if sample["id"] == 90:
            gate.wait()
        return sample

    def tries(**options: Any) -> ms.StreamingDataLoader:
        dataset = ms.StreamingDataset(folder, transform=transform, fields=["id"])
        return ms.StreamingDataLoader(
            dataset, batch_size=10, num_workers=2, **({"workers": "threads"} | options)
        )

    with pytest.raises(errors.FunctionError, match="ValueError: forty, at epoch 0, step 4"):
        list(tries())
    one = tries(timeout=3)
    late = one.state_dict() | {"position": 70}
    one.load_state_dict(late)
    with pytest.raises(errors.WorkerTimeout, match="epoch 0, step 2"):
        list(one)
    gate.set()
    for thread in threads() - before:
        thread.join()
    with pytest.raises(errors.UsageError, match="'processes' or 'threads'"):
        tries(workers="fibers")
