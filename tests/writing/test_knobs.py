"""What optimize's knobs make of inputs, and datasets and loaders as inputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import make, write
from documents import of_lengths
from documents import write as write_documents
from hypothesis import given
from hypothesis import strategies as st

import millstream as ms
from millstream import errors
from millstream.writing import tasks as tasking
from millstream.writing.knobs import WITHOUT_EFFECT, executor_of
from millstream.writing.tasks import tasks


def optimize(fn: Any, inputs: Any, folder: Path, **options: Any) -> list[Any]:
    options = {"num_workers": 0, "verbose": False, "chunk_size": 20, **options}
    ms.optimize(fn, inputs, folder, **options)
    return list(ms.StreamingDataset(folder))


def test_batches_a_few_and_readers(tmp_path: Path) -> None:
    def each(batch: list[int]) -> Any:
        assert len(batch) <= 4
        yield from batch

    assert optimize(each, range(10), tmp_path / "a", batch_size=4) == list(range(10))
    assert optimize(int, range(50), tmp_path / "b", fast_dev_run=True) == list(range(10))
    assert optimize(int, range(50), tmp_path / "c", fast_dev_run=3) == [0, 1, 2]
    doubled = optimize(int, range(5), tmp_path / "d", reader=lambda i: 2 * i)
    assert doubled == [0, 2, 4, 6, 8]
    (tmp_path / "texts").mkdir()
    for n in range(3):
        (tmp_path / f"texts/{n}").write_text(f"text {n}")
    inputs = ["0", str(tmp_path / "texts/1"), "2"]
    texts = tmp_path / "texts"
    read = optimize(
        str, inputs, tmp_path / "e", input_dir=texts, reader=lambda path: Path(path).read_text()
    )
    assert read == ["text 0", "text 1", "text 2"]


def test_another_reader_is_another_job(tmp_path: Path) -> None:
    optimize(int, range(5), tmp_path / "d", reader=lambda i: 2 * i)
    with pytest.raises(errors.OutputNotEmpty):
        optimize(int, range(5), tmp_path / "d", reader=lambda i: 3 * i)
    optimize(int, range(5), tmp_path / "d", reader=lambda i: 2 * i)


@given(
    weights=st.lists(st.floats(0.001, 100), min_size=1, max_size=3_000),
    most=st.sampled_from([1, 8, 64]),
)
def test_tasks_weigh_about_the_same(weights: list[float], most: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tasking, "MAX_TASKS", most)
        found = list(tasks(len(weights), weights))
    assert [i for task in found for i in range(task.start, task.stop)] == list(range(len(weights)))
    assert len(found) <= most + 1
    each = sum(weights) / most
    for task in found:
        assert sum(weights[task.start : task.stop - 1]) <= each * (1 + 1e-9)


def test_weights_leave_no_trace_in_the_rows(tmp_path: Path) -> None:
    plain = optimize(make, range(100), tmp_path / "a")
    heavy = optimize(make, range(100), tmp_path / "b", weights=[1 + i % 7 for i in range(100)])
    assert [sample["id"] for sample in plain] == [sample["id"] for sample in heavy]
    assert optimize(int, range(3), tmp_path / "c", weights=[0, 0, 0]) == [0, 1, 2]
    with pytest.raises(errors.OutputNotEmpty, match="weights"):
        optimize(make, range(101), tmp_path / "b", weights=[1] * 101)


def test_what_has_no_effect_says_why(tmp_path: Path) -> None:
    with pytest.warns(UserWarning) as caught:
        optimize(
            int, range(3), tmp_path / "a", num_uploaders=4, num_downloaders=2, start_method="spawn",
            reorder_files=False, use_checkpoint=True, optimize_dns=True,
        )  # fmt: skip
    said = sorted(str(warning.message).partition(" has no effect here: ")[0] for warning in caught)
    assert said == sorted(WITHOUT_EFFECT)


def test_one_machine_is_this_one(tmp_path: Path) -> None:
    assert optimize(int, range(3), tmp_path / "a", num_nodes=1) == [0, 1, 2]
    with pytest.warns(UserWarning, match="machine has no effect here"):
        optimize(int, range(3), tmp_path / "b", machine=ms.Machine.CPU)


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_nodes": 0},
        {"num_nodes": "2"},
        {"machine": "DATA_PREP"},
        {"executor": "ray"},
        {"num_nodes": 2, "num_workers": 0},
        {"num_nodes": 2, "executor": ms.RayExecutor(num_nodes=3)},
        {"machine": ms.Machine.CPU, "executor": ms.RayExecutor(machine=ms.Machine.DATA_PREP)},
    ],
)
@pytest.mark.parametrize("job", [ms.optimize, ms.map])
def test_machines_that_make_no_sense(tmp_path: Path, job: Any, wrong: dict[str, Any]) -> None:
    with pytest.raises(errors.UsageError):
        job(int, range(3), tmp_path / "c", **wrong)
    assert not (tmp_path / "c").exists()


def test_what_a_call_and_its_executor_say_goes_together() -> None:
    cpus = ms.Machine(cpus=8)
    plain = ms.RayExecutor(address="far:6379", num_nodes=2)
    assert executor_of(4, 2, cpus, plain) == ms.RayExecutor(
        address="far:6379", num_nodes=2, num_workers=4, machine=cpus
    )
    assert executor_of(None, 3, None, None) == ms.RayExecutor(num_nodes=3)
    assert executor_of(None, None, None, plain) == plain


def test_a_machine_is_a_value() -> None:
    assert ms.Machine(cpus=32) == ms.Machine.DATA_PREP
    assert ms.Machine(cpus=8, gpus=1, memory="64GB") == ms.Machine(
        cpus=8, gpus=1, memory=64_000_000_000
    )
    for wrong in ({"cpus": 0}, {"cpus": 1.5}, {"gpus": -1}, {"memory": "much"}):
        with pytest.raises(errors.UsageError):
            ms.Machine(**wrong)


# Datasets and loaders ----------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 2])
def test_a_dataset_gives_its_samples(tmp_path: Path, workers: int) -> None:
    store = write(tmp_path / "d")
    dataset = ms.StreamingDataset(store.root, transform=lambda s: {**s, "id": s["id"] + 1})
    found = optimize(lambda s: s["id"], dataset, tmp_path / "e", num_workers=workers)
    assert found == list(range(1, 61))
    train, val = ms.train_test_split(ms.StreamingDataset(store.root), [0.5, 0.5])
    ids = optimize(lambda s: s["id"], train, tmp_path / "f", num_workers=workers)
    assert ids == [sample["id"] for sample in train]
    # Of other rows it is another job.
    with pytest.raises(errors.OutputNotEmpty):
        optimize(lambda s: s["id"], val, tmp_path / "f")
    pairs = optimize(
        lambda some: [s["id"] for s in some], dataset, tmp_path / "g", batch_size=2, chunk_size=7
    )
    assert pairs == [[i, i + 1] for i in range(1, 60, 2)]


def test_a_dataset_of_tokens_gives_its_blocks(tmp_path: Path) -> None:
    folder = write_documents(tmp_path / "d", of_lengths([5, 0, 13]))
    seven, eight = (
        ms.StreamingDataset(folder, item_loader=ms.TokensLoader(block_size=size)) for size in (7, 8)
    )
    assert optimize(list, seven, tmp_path / "e") == [list(range(7)), list(range(7, 14))]
    loader = ms.StreamingDataLoader(seven, batch_size=2)
    assert optimize(len, loader, tmp_path / "f") == [2]
    # Of another size there may be as many, and they are other inputs.
    assert len(eight) == len(seven)
    with pytest.raises(errors.OutputNotEmpty):
        optimize(list, eight, tmp_path / "e")


@pytest.mark.parametrize("workers", [0, 2])
def test_columns_of_batches_are_appended(tmp_path: Path, workers: int) -> None:
    def squares(numbers: list[int]) -> Any:
        return {"id": np.array(numbers), "square": [n * n for n in numbers]}

    options = {"batch_size": 7, "batched": True, "chunk_size": 10, "num_workers": workers}
    optimize(squares, range(20), tmp_path / "d", **options)
    found = optimize(squares, range(20, 45), tmp_path / "d", mode="append", **options)
    assert [(sample["id"], sample["square"]) for sample in found] == [(i, i * i) for i in range(45)]
    # One by one they are the same rows.
    report = ms.optimize(
        lambda n: {"id": np.int64(n), "square": n * n}, range(45), tmp_path / "e",
        chunk_size=10, mode="overwrite", num_workers=0, verbose=False,
    )  # fmt: skip
    assert report.samples == 45
    assert list(ms.StreamingDataset(tmp_path / "e")) == found


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_gives_its_batches(tmp_path: Path, workers: int) -> None:
    store = write(tmp_path / "d")
    dataset = ms.StreamingDataset(store.root, shuffle=True, fields=["id", "vector"])
    loader = ms.StreamingDataLoader(dataset, batch_size=16)

    def fn(batch: Any, output_dir: str) -> None:
        assert batch["vector"].shape == (len(batch["id"]), 5)
        torch.save(batch["id"], Path(output_dir, f"{int(batch['id'][0])}.pt"))

    options = {"num_workers": workers, "verbose": False}
    report = ms.map(fn, loader, tmp_path / "out", **options)
    expected = {tuple(batch["id"].tolist()) for batch in loader}
    found = {tuple(torch.load(path).tolist()) for path in (tmp_path / "out").glob("*.pt")}
    assert (report.inputs, report.files) == (4, 4)
    assert found == expected
    assert ms.map(fn, loader, tmp_path / "out", **options).already_done


def test_a_loader_of_several_datasets_is_refused(tmp_path: Path) -> None:
    datasets = [ms.StreamingDataset(write(tmp_path / f"{n}").root) for n in range(2)]
    loader = ms.StreamingDataLoader(ms.CombinedStreamingDataset(datasets), batch_size=4)
    said = "inputs is a loader of a CombinedStreamingDataset, expected one of a StreamingDataset"
    with pytest.raises(errors.UsageError, match=said):
        optimize(len, loader, tmp_path / "e")
    assert not (tmp_path / "e").exists()
