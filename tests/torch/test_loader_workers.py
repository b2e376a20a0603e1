"""The loader's workers: what travels, who dies, what is left."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from objects import local_descriptors
from scripts import start

import millstream as ms
from millstream import errors

pytestmark = [
    pytest.mark.timeout(200),
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),
]
COUNT = 120


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("data") / "d"
    ms.optimize(
        lambda i: {"id": i, "x": np.full(3, i, np.float32), "text": str(i)},
        range(COUNT), place, chunk_size=9, num_workers=0, verbose=False,
    )  # fmt: skip
    return place


def loader(folder: Path, **options: Any) -> ms.StreamingDataLoader:
    dataset = ms.StreamingDataset(folder, transform=options.pop("transform", None))
    return ms.StreamingDataLoader(dataset, **{"batch_size": 10, "num_workers": 2, **options})


def ids(batches: Any) -> list[int]:
    return [i for batch in batches for i in batch["id"].tolist()]


def workers() -> set[int]:
    return {
        child.pid
        for child in psutil.Process().children()
        if any("millstream.execution.child" in part for part in child.cmdline())
    }


def test_a_worker_imports_only_what_it_needs(folder: Path) -> None:
    def probe(samples: list[Any]) -> list[str]:
        return sorted({"torch", "PIL", "tqdm", "millstream.torch"} & set(sys.modules))

    assert next(iter(loader(folder, collate_fn=probe, num_workers=1))) == []


def test_numbers_and_arrays_of_a_transform_need_no_torch_either(folder: Path) -> None:
    def transform(sample: Any) -> Any:
        return {"id": sample["id"], "torch": "torch" in sys.modules, "y": sample["x"] * 2}

    batches = list(loader(folder, transform=transform))
    assert not torch.stack([batch["torch"] for batch in batches]).any()
    assert torch.equal(batches[0]["y"][:, 0], torch.arange(0, 20, 2.0))
    batches[0]["y"] += 1  # the batch is the consumer's own


@pytest.fixture(autouse=True)
def alone() -> None:
    """What tests before have left to the garbage collector is gone."""
    gc.collect()
    assert workers() == set()


@dataclass
class Custom:
    tensor: torch.Tensor
    label: str


def test_a_collate_fn_may_return_anything(folder: Path) -> None:
    def collate(samples: list[Any]) -> Any:
        many = torch.tensor([sample["id"] for sample in samples])
        return {
            "custom": Custom(many.to(torch.bfloat16), "a"),
            "view": many[::2],
            "grad": many.double().requires_grad_(),
            "array": many.numpy(),
            "lens": {len(samples)},
            "none": None,
            "empty": torch.zeros(0, 3),
            "scalar": torch.tensor(3 + 4j),
            "conj": torch.tensor([1 + 1j]).conj(),
            "bits": torch.tensor([True, False]),
        }

    for count in (0, 1):
        batch = next(iter(loader(folder, collate_fn=collate, num_workers=count)))
        assert batch["custom"].tensor.dtype == torch.bfloat16
        assert batch["custom"].tensor.tolist() == list(range(10))
        assert batch["view"].tolist() == list(range(0, 10, 2))
        assert batch["grad"].requires_grad
        assert type(batch["array"]) is np.ndarray
        assert (batch["lens"], batch["none"], batch["empty"].shape) == ({10}, None, (0, 3))
        assert batch["scalar"].item() == 3 + 4j
        assert batch["conj"].tolist() == [1 - 1j]
        assert batch["bits"].tolist() == [True, False]


@pytest.mark.parametrize("persistent", [False, True])
def test_persistent_workers_are_kept_and_others_are_not(folder: Path, persistent: bool) -> None:
    one = loader(folder, persistent_workers=persistent)
    seen = []
    for _ in range(3):
        batches = iter(one)
        next(batches)
        seen.append(workers())
        assert len(ids(batches)) == COUNT - 10
        del batches
    assert [len(pids) for pids in seen] == [2, 2, 2]
    assert (seen[0] == seen[1] == seen[2]) == persistent
    assert len(workers()) == (2 if persistent else 0)
    del one
    gc.collect()
    assert workers() == set()


def test_kept_workers_follow_a_loaded_state_and_an_early_end(folder: Path) -> None:
    dataset = ms.StreamingDataset(folder, shuffle=True)
    plain = ms.StreamingDataLoader(dataset, batch_size=10)
    expected = [ids(plain) for _ in range(3)]
    kept = ms.StreamingDataLoader(dataset, batch_size=10, num_workers=2, persistent_workers=True)
    batches = iter(kept)
    next(batches), next(batches)
    saved = kept.state_dict()
    assert ids(kept) == expected[1]
    kept.load_state_dict(saved)
    assert ids(kept) == expected[0][20:]
    # A state of so many ranks brings its own lanes: the workers get to know them.
    many = ms.StreamingDataLoader(dataset, batch_size=1, rank=0, ranks=40).state_dict()
    kept.load_state_dict(many)
    single = ms.StreamingDataLoader(dataset, batch_size=10)
    single.load_state_dict(many)
    assert ids(kept) == ids(single) != expected[0]


def test_worker_init_fn_runs_once_a_worker_and_not_without_workers(
    folder: Path, tmp_path: Path
) -> None:
    def note(number: int) -> None:
        with (tmp_path / "calls").open("a") as file:
            file.write(f"{number}\n")

    kept = loader(folder, worker_init_fn=note, persistent_workers=True)
    assert len(ids(kept) + ids(kept)) == 2 * COUNT
    assert sorted((tmp_path / "calls").read_text().split()) == ["0", "1"]
    assert len(ids(loader(folder, worker_init_fn=note, num_workers=0))) == COUNT
    assert len((tmp_path / "calls").read_text().split()) == 2

    def fail(number: int) -> None:
        raise OSError("no device")

    with pytest.raises(errors.FunctionError, match=r"worker \d cannot begin: OSError: no device"):
        list(loader(folder, worker_init_fn=fail))


@pytest.mark.parametrize("persistent", [False, True])
def test_a_worker_that_dies_is_named_and_the_run_can_go_on(folder: Path, persistent: bool) -> None:
    one = loader(folder, persistent_workers=persistent, prefetch_factor=1)
    batches = iter(one)
    got = ids([next(batches), next(batches)])
    victim = min(workers())
    os.kill(victim, signal.SIGKILL)
    with pytest.raises(errors.WorkerDied, match=rf"process {victim}\) was ended by SIGKILL"):
        for batch in batches:
            got += ids([batch])
    assert workers() == set()
    one.load_state_dict(one.state_dict())
    assert got + ids(one) == list(range(COUNT))


def test_a_worker_that_ends_in_a_transform_is_named_with_its_batch(folder: Path) -> None:
    def transform(sample: Any) -> Any:
        if sample["id"] == 35:
            os._exit(7)
        return sample

    with pytest.raises(errors.WorkerDied, match=r"exit code 7, at epoch 0, step 3$"):
        list(loader(folder, transform=transform))


def test_a_batch_that_takes_too_long(folder: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "gate")

    def transform(sample: Any) -> Any:
        if sample["id"] == 15:
            (tmp_path / "gate").read_text()
        return sample

    with pytest.raises(errors.WorkerTimeout, match=r"epoch 0, step 1 .* 5 seconds"):
        list(loader(folder, transform=transform, timeout=5))
    assert workers() == set()


def test_twenty_loaders_started_and_abandoned_leave_nothing(folder: Path) -> None:
    next(iter(loader(folder, num_workers=1)))
    gc.collect()
    before = local_descriptors(), threading.active_count(), workers()
    shared = Path("/dev/shm")  # where segments of ours, and of torch, would have names
    names = ("millstream*", "torch_*")
    named = {path for name in names for path in shared.glob(name)}
    for count in range(20):
        one = loader(folder, num_workers=1 + count % 2, persistent_workers=count % 3 == 0)
        batches = iter(one)
        if count % 4:
            next(batches)
        del batches, one
    gc.collect()
    assert (local_descriptors(), threading.active_count(), workers()) == before
    assert {path for name in names for path in shared.glob(name)} <= named


def test_what_cannot_travel_is_said(folder: Path) -> None:
    lock = threading.Lock()
    with pytest.raises(errors.NotPicklable, match="dataset or a function"):
        next(iter(loader(folder, collate_fn=lambda samples: lock)))
    assert workers() == set()


SCRIPT = """
    import sys
    import millstream as ms
    print("script")
    class Half(ms.StreamingDataset):
        def __getitem__(self, index):
            return super().__getitem__(index)["id"] / 2
    factor = 4
    collate = lambda samples: [factor * value for value in samples]
    loader = ms.StreamingDataLoader(
        Half(sys.argv[1]), batch_size=50, num_workers=2, collate_fn=collate
    )
    print([len(batch) for batch in loader], sum(loader.coverage().to_json()["exact"] for _ in "a"))
    batches = iter(loader)
    print(next(batches)[:3], flush=True)
    sys.stdin.read()
"""


def script(folder: Path) -> Iterator[Any]:
    process = start(SCRIPT, folder)
    assert process.stdout is not None
    yield process
    yield [process.stdout.readline().strip() for _ in range(3)]


def test_a_script_without_a_main_guard_and_its_own_classes(folder: Path) -> None:
    process, lines = script(folder)
    assert lines == ["script", "[50, 50, 20] 1", "[0.0, 2.0, 4.0]"]
    out, err = process.communicate()
    assert (process.returncode, out, err) == (0, "", "")


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_the_trainer(folder: Path, sent: signal.Signals) -> None:
    process, lines = script(folder)
    assert len(lines) == 3
    mine = psutil.Process(process.pid).children()
    assert len(mine) == 2
    process.send_signal(sent)
    process.wait()
    _, alive = psutil.wait_procs(mine, timeout=10)
    assert alive == []
    process.communicate()
