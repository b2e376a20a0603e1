"""ParallelStreamingDataset: one sample of each, as often as was asked, resumed exactly."""

from __future__ import annotations

import json
import pickle
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mixed_data import Open

import millstream as ms
from millstream.errors import StateMismatch, UsageError
from millstream.reading.beside import all_taken

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")


def loader(dataset: Any, **options: Any) -> ms.StreamingDataLoader:
    return ms.StreamingDataLoader(dataset, **{"batch_size": 16, "collate_fn": list, **options})


def flat(batches: Any) -> list[Any]:
    return [sample for batch in batches for sample in batch]


def numbers(samples: tuple[Any, ...], rng: np.random.Generator) -> tuple[int, int, int]:
    first, second = samples
    return first["id"], second.get("id", second.get("other")), int(rng.integers(1 << 40))


def test_by_default_it_ends_with_the_shortest(opened: Open) -> None:
    both = ms.ParallelStreamingDataset([opened("a", shuffle=True), opened("c")])
    assert len(both) == len(list(both)) == 120
    for batch in ms.StreamingDataLoader(both, batch_size=30, num_workers=1):
        first, second = batch
        assert first["vector"].shape == (30, 3)
        assert torch.equal(first["vector"][:, 0], first["id"].float())
        assert second["other"].tolist() == sorted(second["other"].tolist())


def test_columns_samples_and_numpy_are_the_same(opened: Open) -> None:
    both = ms.ParallelStreamingDataset([opened("a"), opened("c")], length=200)
    by_sample = loader(both, collate_fn=torch.utils.data.default_collate)
    by_column = ms.StreamingDataLoader(both, batch_size=16)
    for one, other, array in zip(by_column, by_sample, both.batches(16), strict=True):
        assert one[0]["from"] == list(other[0]["from"]) == array[0]["from"]
        for part, name in ((0, "id"), (0, "vector"), (1, "other")):
            assert torch.equal(one[part][name], other[part][name])
            assert np.array_equal(one[part][name].numpy(), array[part][name])


def test_a_dataset_that_has_ended_begins_anew(opened: Open) -> None:
    both = ms.ParallelStreamingDataset(
        [opened("a", shuffle=True), opened("c", shuffle=True)], length=700, transform=numbers
    )
    runs = [flat(loader(both, num_workers=workers)) for workers in (0, 1, 3)]
    assert runs[0] == runs[1] == runs[2]
    assert sorted(first for first, _, _ in runs[0]) == list(range(700))
    turns = [[second for _, second, _ in runs[0][n : n + 120]] for n in range(0, 600, 120)]
    assert all(sorted(turn) == list(range(120)) for turn in turns)
    assert turns[0] != turns[1]
    assert len({noise for _, _, noise in runs[0]}) == 700


def test_epochs_go_on_where_the_one_before_has_ended_or_do_not(opened: Open) -> None:
    def epochs(**options: Any) -> list[list[tuple[int, ...]]]:
        both = ms.ParallelStreamingDataset(
            [opened("a"), opened("b", shuffle=True)], length=250, transform=numbers, **options
        )
        some = loader(both)
        return [flat(some) for _ in range(3)]

    on = epochs()
    assert [first for first, _, _ in on[0] + on[1]] == list(range(500))
    assert sorted(second for _, second, _ in (on[0] + on[1])[:300]) == list(range(300))
    anew = epochs(resume=False)
    assert [first for first, _, _ in anew[1]] == list(range(250))
    assert anew[0] != anew[1]


def test_a_run_goes_on_exactly_in_any_other_shape(opened: Open) -> None:
    def fresh() -> ms.ParallelStreamingDataset:
        return ms.ParallelStreamingDataset(
            [opened("a", shuffle=True), opened("c", shuffle=True)], length=500, transform=numbers
        )

    some = loader(fresh(), num_workers=1)
    list(some)
    batches = iter(some)
    got = flat(islice(batches, 11))
    state = json.loads(json.dumps(some.state_dict()))
    assert len(json.dumps(state)) < 600
    rest = flat(batches)
    again = loader(fresh(), batch_size=7)
    again.load_state_dict(state)
    assert flat(again) == rest
    shares = []
    for rank in range(3):
        share = loader(fresh(), batch_size=5, rank=rank, ranks=3, drop_last=False)
        share.load_state_dict(state)
        shares += flat(share)
        assert share.coverage().exact
    assert Counter(shares) == Counter(rest)
    assert len(got) + len(rest) == 500


def test_an_epoch_without_end(opened: Open) -> None:
    both = ms.ParallelStreamingDataset([opened("a"), opened("c")], length=float("inf"))
    some = loader(both, num_workers=1)
    first = flat(islice(iter(some), 50))
    assert [sample["other"] for _, sample in first] == [n % 120 for n in range(800)]
    assert [sample["id"] for sample, _ in first] == [n % 700 for n in range(800)]
    assert some.coverage().exact
    for endless in (both, some):
        with pytest.raises(TypeError, match=r"no len\(\)"):
            len(endless)
    again = loader(both)
    again.load_state_dict(some.state_dict())
    assert next(iter(again))[0][0]["id"] == 100


def test_mixtures_may_lie_beside_datasets(opened: Open) -> None:
    mixed = ms.CombinedStreamingDataset([opened("a"), opened("b")])
    both = ms.ParallelStreamingDataset([mixed, opened("c")], length=1_500)
    some = loader(both, num_workers=1)
    found = Counter((sample["from"], sample["id"]) for sample, _ in flat(some))
    assert len(found) == 1_000
    assert set(found.values()) == {1, 2}
    assert some.coverage().exact
    by_batch = [sample for batch in both.batches(100) for sample in batch[0]["id"].tolist()]
    assert by_batch == [sample["id"] for sample, _ in both]


def test_a_dataset_far_away_is_fetched_once_a_chunk(folder: Path, tmp_path: Path) -> None:
    def far(name: str) -> ms.StreamingDataset:
        return ms.StreamingDataset(f"local:{folder / name}", shuffle=True, cache_dir=tmp_path)

    both = ms.ParallelStreamingDataset([far("a"), far("c")], length=1_000)
    some = loader(both, num_workers=1)
    for _ in range(2):
        assert len(flat(some)) == 1_000
        assert some.coverage().exact
    assert some.stats().fetched_chunks == 18 + 3


def test_a_row_of_any_dataset_that_is_wrong_or_missing_shows() -> None:
    rows, wanted = np.arange(10, 14), np.array([5, 6, 7, 8])
    wrong, missing = np.array([5, 9, 7, 8]), np.array([5, 6, 7, -1])
    assert all_taken(rows, [(wanted, wanted), (wanted, wanted)]).tolist() == rows.tolist()
    assert all_taken(rows, [(wanted, wanted), (wanted, wrong)]).tolist() == [10, -1, 12, 13]
    assert all_taken(rows, [(wanted, missing), (wanted, wrong)]).tolist() == [10, -1, 12, -1]


def test_it_travels_and_works_under_a_plain_loader(opened: Open) -> None:
    both = ms.ParallelStreamingDataset([opened("a"), opened("c")], length=200)
    assert isinstance(both, torch.utils.data.IterableDataset)
    assert list(map(str, pickle.loads(pickle.dumps(both)))) == list(map(str, both))
    both.set_epoch(0)
    plain = torch.utils.data.DataLoader(both, batch_size=8, num_workers=2)
    ids = [i for first, _ in plain for i in first["id"].tolist()]
    assert sorted(ids) == list(range(200))
    assert repr(both).startswith("ParallelStreamingDataset(200 samples:")


def test_another_setting_is_named(opened: Open) -> None:
    def some(**options: Any) -> ms.StreamingDataLoader:
        datasets = options.pop("datasets", None) or [opened("a"), opened("c")]
        return loader(ms.ParallelStreamingDataset(datasets, **{"length": 200, **options}))

    saved = some().state_dict()
    for name, options in {
        "length was 200, is 300": {"length": 300},
        "resume": {"resume": False},
        "of dataset 0 was": {"datasets": [opened("a", seed=3), opened("c")]},
        "of dataset 1, this": {"datasets": [opened("a"), opened("b")]},
    }.items():
        with pytest.raises(StateMismatch, match=name):
            some(**options).load_state_dict(saved)


@pytest.mark.parametrize(
    ("bad", "word"),
    [
        ({"datasets": []}, "expected a list of"), ({"datasets": [3]}, "holds a int"),
        ({"length": 0}, "length"), ({"length": 2.5}, "length"), ({"length": True}, "length"),
        ({"length": float("nan")}, "length"), ({"seed": None}, "seed"),
    ],
)  # fmt: skip
def test_arguments_that_make_no_sense(opened: Open, bad: dict[str, Any], word: str) -> None:
    arguments = {"datasets": [opened("a"), opened("c")], **bad}
    with pytest.raises(UsageError, match=word):
        ms.ParallelStreamingDataset(**arguments)


def test_what_cannot_lie_side_by_side(opened: Open) -> None:
    whole_batches = ms.CombinedStreamingDataset([opened("a")], batching_method="per_stream")
    with pytest.raises(UsageError, match="needs batches"):
        ms.ParallelStreamingDataset([whole_batches, opened("c")])
    both = ms.ParallelStreamingDataset([opened("a", shuffle=True), opened("c")])
    with pytest.raises(UsageError, match="dataset 0"):
        loader(both, shuffle=False)
    with pytest.raises(UsageError, match="holds a ParallelStreamingDataset"):
        ms.ParallelStreamingDataset([both])
