"""CombinedStreamingDataset: everything once, exactly resumed, whoever reads it and how."""

from __future__ import annotations

import json
import os
import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mixed_data import ROWS, Open

import millstream as ms
from millstream.errors import FunctionError, StateMismatch, UsageError
from millstream.reading.streamed import feed_of

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")
EVERYTHING = {("a", i): 1 for i in range(ROWS["a"])} | {("b", i): 1 for i in range(ROWS["b"])}


@pytest.fixture
def mixed(opened: Open) -> ms.CombinedStreamingDataset:
    return ms.CombinedStreamingDataset([opened("a", shuffle=True), opened("b", shuffle=True)])


def pairs(batches: Any) -> list[tuple[str, int]]:
    """(dataset, id) of all samples of batches."""
    return [
        pair
        for batch in batches
        for pair in zip(batch["from"], np.asarray(batch["id"]).tolist(), strict=True)
    ]


def loader(dataset: Any, **options: Any) -> ms.StreamingDataLoader:
    return ms.StreamingDataLoader(dataset, **{"batch_size": 16, **options})


def test_all_ways_of_iterating_give_the_same(mixed: ms.CombinedStreamingDataset) -> None:
    plain = [(sample["from"], sample["id"]) for sample in mixed]
    assert Counter(plain) == EVERYTHING
    for workers in (0, 1, 3):
        some = loader(mixed, num_workers=workers)
        assert pairs(some) == plain
        assert some.coverage().exact
    assert pairs(mixed.batches(13)) == plain
    assert len(mixed) == 1_000
    assert len(loader(mixed)) == 63


def test_a_plain_torch_loader_shares_it_among_its_workers(
    mixed: ms.CombinedStreamingDataset,
) -> None:
    assert isinstance(mixed, torch.utils.data.IterableDataset)
    shared = torch.utils.data.DataLoader(mixed, batch_size=8, num_workers=2)
    assert Counter(pairs(shared)) == EVERYTHING


def test_batches_of_columns_are_those_of_samples(mixed: ms.CombinedStreamingDataset) -> None:
    by_sample = loader(mixed, collate_fn=torch.utils.data.default_collate)
    for columns, samples in zip(loader(mixed), by_sample, strict=True):
        assert columns.keys() == samples.keys()
        assert columns["from"] == samples["from"]
        for name in ("id", "vector"):
            assert columns[name].dtype == samples[name].dtype
            assert torch.equal(columns[name], samples[name])


def test_a_run_goes_on_exactly_in_any_other_shape(opened: Open) -> None:
    def fresh() -> ms.CombinedStreamingDataset:
        return ms.CombinedStreamingDataset(
            [opened("a", shuffle=True), opened("b")], weights=(1, 3), seed=9
        )

    first = loader(fresh(), num_workers=1)
    batches = iter(first)
    got = pairs(next(batches) for _ in range(9))
    state = json.loads(json.dumps(first.state_dict()))
    whole = pairs(loader(fresh()))
    again = loader(fresh(), batch_size=5)
    again.load_state_dict(state)
    assert got + pairs(again) == whole
    rest = []
    for rank in range(3):
        share = loader(fresh(), batch_size=7, rank=rank, ranks=3, drop_last=False)
        share.load_state_dict(state)
        rest += pairs(share)
        assert share.coverage().exact
    assert Counter(got + rest) == EVERYTHING


def test_counts_are_those_of_what_was_delivered(opened: Open) -> None:
    for told in (None, True):
        mixed = ms.CombinedStreamingDataset(
            [opened("a", shuffle=told), opened("b")], weights=(1, 1), iterate_over_all=False
        )
        assert mixed.counts() == [300, 300]
        some = loader(mixed, shuffle=None if told else True, batch_size=10)
        batches = iter(some)
        got = Counter(name for name, _ in pairs(next(batches) for _ in range(12)))
        assert mixed.counts(some.state_dict()) == [got["a"], got["b"]]
        assert abs(got["a"] - 60) < 30


def test_what_is_longer_gives_other_samples_in_each_epoch(opened: Open) -> None:
    mixed = ms.CombinedStreamingDataset(
        [opened("a", shuffle=True), opened("b", shuffle=True)],
        weights=(1, 1),
        iterate_over_all=False,
    )
    some = loader(mixed)
    first, second = (Counter(pairs(some)) for _ in range(2))
    assert first != second
    assert [n for n in first if n[0] == "b"] != [n for n in second if n[0] == "b"]


def test_batches_of_one_dataset_need_not_be_alike(opened: Open) -> None:
    mixed = ms.CombinedStreamingDataset(
        [opened("a"), opened("c")], batching_method="per_stream", weights=(1, 1)
    )
    found: Counter[str] = Counter()
    for rank in range(2):
        share = loader(mixed, batch_size=5, rank=rank, ranks=2, num_workers=rank)
        for batch in share:
            (name,) = {"id", "other"} & batch.keys()
            assert len(batch[name]) == 5
            found[name] += 5
        assert share.coverage().exact
    assert found == {"id": 700, "other": 120}
    with pytest.raises(UsageError, match="needs batches"):
        list(mixed)
    kinds = {tuple(batch) for batch in mixed.batches(10)}
    assert kinds == {("from", "id", "vector"), ("other",)}


def test_a_state_of_whole_batches_names_their_size(opened: Open) -> None:
    def share(batch_size: int, ranks: int) -> ms.StreamingDataLoader:
        mixed = ms.CombinedStreamingDataset(
            [opened("a"), opened("b")], batching_method="per_stream"
        )
        return loader(mixed, batch_size=batch_size, rank=0, ranks=ranks)

    some = share(8, 2)
    next(iter(some))
    share(4, 4).load_state_dict(some.state_dict())
    with pytest.raises(StateMismatch, match=r"batch_size times ranks.*was 16, is 8"):
        share(4, 2).load_state_dict(some.state_dict())


def test_samples_that_are_not_alike_have_no_batch_but_can_be_had(opened: Open) -> None:
    mixed = ms.CombinedStreamingDataset([opened("a"), opened("c")], weights=(1, 1))
    with pytest.raises(UsageError, match=r"first sample .*\['from', 'id', 'vector'\].*\['other'\]"):
        list(loader(mixed))
    with pytest.raises(UsageError, match=r"dataset 1 has \{other: int\}.*per_stream"):
        next(iter(mixed.batches(50)))
    some = loader(mixed, collate_fn=list, num_workers=1)
    found = Counter(len(sample) for batch in some for sample in batch)
    assert found == {3: 700, 1: 120}
    assert some.coverage().exact


def test_each_dataset_keeps_its_transform_and_decoding(opened: Open) -> None:
    def noisy(sample: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        return {**sample, "noise": int(rng.integers(1 << 40))}

    def whole() -> ms.CombinedStreamingDataset:
        plain = opened("b", transform=lambda sample: {**sample, "noise": -1})
        return ms.CombinedStreamingDataset([opened("a", transform=noisy), plain])

    runs = [
        [
            (*pair, noise)
            for batch in loader(whole(), num_workers=workers)
            for pair, noise in zip(pairs([batch]), batch["noise"].tolist(), strict=True)
        ]
        for workers in (0, 2)
    ]
    assert runs[0] == runs[1]
    assert {noise for name, _, noise in runs[0] if name == "b"} == {-1}
    assert len({noise for name, _, noise in runs[0] if name == "a"}) == 700


def test_an_overridden_getitem_is_called(folder: Path) -> None:
    class Doubled(ms.StreamingDataset):
        def __getitem__(self, index: Any) -> Any:
            sample = super().__getitem__(index)
            return {**sample, "id": sample["id"] * 2}

    mixed = ms.CombinedStreamingDataset([Doubled(folder / "a"), ms.StreamingDataset(folder / "b")])
    some = loader(mixed)
    assert Counter(pairs(some)) == {
        **{("a", 2 * i): 1 for i in range(700)},
        **{("b", i): 1 for i in range(300)},
    }
    assert some.coverage().exact


def test_an_error_of_a_transform_names_the_step(opened: Open) -> None:
    def fail(sample: Any) -> Any:
        raise KeyError("broken")

    mixed = ms.CombinedStreamingDataset([opened("a", transform=fail), opened("b")])
    with pytest.raises(FunctionError, match=r"broken.*step 0"):
        list(loader(mixed))


def test_mixtures_of_mixtures_keep_their_weights(opened: Open) -> None:
    inner = ms.CombinedStreamingDataset(
        [opened("a"), opened("b")], weights=(1, 1), iterate_over_all=False
    )
    mixed = ms.CombinedStreamingDataset([inner, opened("c")], weights=(2, 1))
    assert mixed.counts() == [300, 300, 120]
    some = loader(mixed, collate_fn=list)
    first = [sample for _, batch in zip(range(10), some, strict=False) for sample in batch]
    found = Counter(sample.get("from", "c") for sample in first)
    assert all(abs(found[name] - 160 / 3) < 25 for name in "abc")
    assert "CombinedStreamingDataset(" in repr(mixed).splitlines()[1]
    with pytest.raises(UsageError, match="batching_method"):
        ms.CombinedStreamingDataset([inner, opened("c")], batching_method="per_stream")


def test_a_curriculum_goes_where_it_is_asked_to_go(opened: Open) -> None:
    mixed = ms.CombinedStreamingDataset(
        [opened("a"), opened("b")],
        weights=lambda position: (1, 0) if position < 256 else (0, 1),
        iterate_over_all=False,
    )
    for workers in (0, 1):
        names = [name for name, _ in pairs(loader(mixed, num_workers=workers))]
        assert names == ["a"] * 256 + ["b"] * 300


def test_a_curriculum_that_is_not_the_same_in_a_worker_is_found_out(opened: Open) -> None:
    here = os.getpid()
    mixed = ms.CombinedStreamingDataset(
        [opened("a"), opened("b")], weights=lambda _: (1, 1 if os.getpid() == here else 2)
    )
    assert Counter(pairs(loader(mixed))) == EVERYTHING
    with pytest.raises(FunctionError, match="another order"):
        # With a function for workers these make every batch.
        list(loader(mixed, num_workers=1, worker_init_fn=lambda number: None))


def test_the_loader_shuffles_what_was_not_told(opened: Open) -> None:
    mixed = ms.CombinedStreamingDataset([opened("a", shuffle=True), opened("b")])
    assert mixed.shuffle is None

    def of_b(shuffle: bool | None) -> list[int]:
        return [i for name, i in pairs(loader(mixed, shuffle=shuffle)) if name == "b"]

    # Unshuffled it comes by lanes, each in the order of its rows.
    assert of_b(None) != of_b(True)
    assert sorted(of_b(None)) == sorted(of_b(True)) == list(range(300))
    with pytest.raises(UsageError, match="dataset 0"):
        loader(mixed, shuffle=False)


def test_unshuffled_datasets_come_in_their_own_order(opened: Open) -> None:
    found = pairs(loader(ms.CombinedStreamingDataset([opened("a"), opened("b")])))
    for name in "ab":
        assert [i for n, i in found if n == name] == list(range(ROWS[name]))


def test_another_mixture_is_named(opened: Open, folder: Path) -> None:
    def state(datasets: Any = None, **options: Any) -> tuple[ms.StreamingDataLoader, Any]:
        datasets = datasets or [opened("a"), opened("b")]
        some = loader(ms.CombinedStreamingDataset(datasets, **options))
        return some, some.state_dict()

    _, saved = state()
    assert len(json.dumps(saved)) < 600
    for name, options in {
        "seed was 42, is 7": {"seed": 7},
        "weights": {"weights": (1, 2)},
        "iterate_over_all": {"iterate_over_all": False},
        "batching_method": {"batching_method": "per_stream"},
        "of dataset 1 was": {"datasets": [opened("a"), opened("b", subsample=0.5)]},
        "shuffle of dataset 0": {"datasets": [opened("a", shuffle=True), opened("b")]},
        "of dataset 1, this": {"datasets": [opened("a"), opened("c")]},
    }.items():
        with pytest.raises(StateMismatch, match=name):
            state(**options)[0].load_state_dict(saved)


def test_it_travels_and_says_what_it_is(mixed: ms.CombinedStreamingDataset) -> None:
    again = pickle.loads(pickle.dumps(mixed))
    assert [s["id"] for s in again] == [s["id"] for s in mixed]
    assert repr(mixed).startswith("CombinedStreamingDataset(1,000 samples, stratified, weights by")
    plan = mixed.plan(batch_size=10, ranks=2)
    row = int(plan.batch(3, 1)[0])
    assert [(when.step, when.rank) for when in plan.when(row)] == [(3, 1)]


def test_what_is_far_away_is_fetched_once_a_chunk(folder: Path, tmp_path: Path) -> None:
    def far(name: str) -> ms.StreamingDataset:
        return ms.StreamingDataset(
            f"local:{folder / name}", shuffle=True, cache_dir=tmp_path / "cache"
        )

    mixed = ms.CombinedStreamingDataset([far("a"), far("b")], weights=(1, 1))
    some = loader(mixed, num_workers=1)
    assert Counter(pairs(some)) == EVERYTHING
    assert some.coverage().exact
    chunks = sum(len(s.source.chunk_rows) for s in feed_of(mixed).streams)  # type: ignore[attr-defined]
    assert some.stats().fetched_chunks == chunks
    assert Counter(pairs(some)) == EVERYTHING
    assert some.stats().fetched_chunks == chunks


@pytest.mark.parametrize(
    ("bad", "word"),
    [
        ({"datasets": []}, "expected a list of"), ({"datasets": None}, "expected a list of"),
        ({"datasets": ["a"]}, "holds a str"), ({"seed": "x"}, "seed"),
        ({"weights": (1,)}, "1 numbers for 2"), ({"weights": (1, -1)}, "from 0"),
        ({"weights": "ab"}, "expected 2 numbers"), ({"batching_method": "random"}, "one of"),
    ],
)  # fmt: skip
def test_arguments_that_make_no_sense(opened: Open, bad: dict[str, Any], word: str) -> None:
    arguments = {"datasets": [opened("a"), opened("b")], **bad}
    with pytest.raises(UsageError, match=word):
        ms.CombinedStreamingDataset(**arguments)


def test_datasets_that_contradict_each_other(opened: Open) -> None:
    with pytest.raises(UsageError, match="lanes"):
        ms.CombinedStreamingDataset([opened("a", lanes=2), opened("b", lanes=3)])
    with pytest.raises(UsageError, match="drop_last"):
        ms.CombinedStreamingDataset([opened("a", drop_last=True), opened("b", drop_last=False)])
    mixed = ms.CombinedStreamingDataset([opened("a", lanes=2), opened("b", drop_last=True)])
    assert loader(mixed).state_dict()["order"]["lanes"] == 2
    assert len(loader(mixed)) == 62
