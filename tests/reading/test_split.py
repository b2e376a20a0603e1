"""train_test_split: disjoint, exhaustive, the same again, and all else as in the dataset given."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from documents import of_lengths, write
from hypothesis import assume, given
from hypothesis import strategies as st

import millstream as ms
from millstream.errors import StateMismatch, UsageError
from millstream.reading.dataset import stream_of

ROWS = 100


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("split") / "d"
    ms.optimize(
        lambda i: {"id": i, "x": np.full(3, i)},
        range(ROWS),
        place,
        chunk_size=8,
        num_workers=0,
        verbose=False,
    )
    return place


def ids(dataset: Any) -> list[int]:
    return [sample["id"] for sample in dataset]


def chunks_of(dataset: ms.StreamingDataset) -> set[int]:
    return set(stream_of(dataset).selection.chunk.tolist())


weights = st.lists(st.integers(1, 9), min_size=1, max_size=5)
ways = st.sampled_from(["rows", "chunks"])


@given(weights, st.integers(0, 9), ways, st.sampled_from([0.5, 1.0, 2.0, 2.5]), st.booleans())
def test_parts_are_disjoint_and_together_the_dataset(
    folder: Path, some: list[int], seed: int, by: Any, subsample: float, shuffle: bool
) -> None:
    dataset = ms.StreamingDataset(folder, subsample=subsample, shuffle=shuffle)
    splits = [weight / sum(some) for weight in some]
    parts = ms.train_test_split(dataset, splits, seed, by=by)
    rows = [ids(part) for part in parts]
    for part, found, fraction in zip(parts, rows, splits, strict=True):
        assert len(part) == len(found)
        assert abs(len(part) - fraction * len(dataset)) < max(2, 2 * subsample)
    distinct = [set(found) for found in rows]
    assert sum(map(len, distinct)) == len(set().union(*distinct))
    assert set().union(*distinct) == set(ids(dataset))
    if subsample in (0.5, 1.0, 2.0):
        assert sorted(row for found in rows for row in found) == sorted(ids(dataset))
    same = ms.StreamingDataset(folder, subsample=subsample)
    again = ms.train_test_split(same, splits, seed, by=by)
    assert [sorted(ids(part)) for part in again] == [sorted(found) for found in rows]


def test_the_documented_call(folder: Path) -> None:
    dataset = ms.StreamingDataset(folder)
    train, val, test = ms.train_test_split(dataset, splits=[0.3, 0.2, 0.5])
    assert (len(train), len(val), len(test)) == (30, 20, 50)
    assert "30 samples" in repr(train)
    assert sorted(ids(train) + ids(val) + ids(test)) == list(range(ROWS))
    # Splits need not be all of it, and a part can be split again.
    small, rest = ms.train_test_split(dataset, splits=[0.1, 0.5])
    assert (len(small), len(rest)) == (10, 50)
    left, right = ms.train_test_split(rest, splits=[0.5, 0.5])
    assert sorted(ids(left) + ids(right)) == sorted(ids(rest))
    other, _ = ms.train_test_split(dataset, splits=[0.1, 0.5], seed=43)
    assert set(ids(other)) != set(ids(small))


def test_by_rows_each_part_is_like_the_whole_and_by_chunks_it_reads_few(folder: Path) -> None:
    dataset = ms.StreamingDataset(folder)
    (train, val) = ms.train_test_split(dataset, splits=[0.75, 0.25])
    assert chunks_of(train) == set(range(13))
    assert len(chunks_of(val)) >= 10
    (train, val) = ms.train_test_split(dataset, splits=[0.75, 0.25], by="chunks")
    assert len(chunks_of(val)) <= 5
    assert len(chunks_of(val) & chunks_of(train)) <= 1
    assert abs(len(val) - 25) < 1


class Doubled(ms.StreamingDataset):
    """A user's own."""

    def __getitem__(self, index: Any) -> Any:
        sample = super().__getitem__(index)
        return {"id": sample["id"], "twice": 2 * sample["id"]}


def test_all_else_is_as_in_the_dataset_given(folder: Path) -> None:
    def with_noise(sample: Any, rng: np.random.Generator) -> Any:
        return {"id": sample["id"], "noise": float(rng.random())}

    dataset = ms.StreamingDataset(
        folder, shuffle=True, transform=with_noise, fields=["id"], seed=7, lanes=3, drop_last=True
    )
    part, _ = ms.train_test_split(dataset, splits=[0.5, 0.5])
    first, second = list(part), list(part)
    assert [s["id"] for s in first] != sorted(s["id"] for s in first)
    assert [s["id"] for s in first] != [s["id"] for s in second]
    # What a transform draws for a row does not depend on the split.
    by_row = {sample["id"]: sample["noise"] for sample in dataset[:]}
    assert all(by_row[sample["id"]] == sample["noise"] for sample in part[:])
    own, _ = ms.train_test_split(Doubled(folder), splits=[0.5, 0.5])
    assert type(own) is Doubled
    assert all(sample["twice"] == 2 * sample["id"] for sample in own)
    # Of the one that was given nothing has changed.
    next(iter(dataset))
    assert len(dataset) == ROWS


def loaders(part: Any) -> list[Any]:
    return [
        ms.StreamingDataLoader(part, batch_size=7, num_workers=0),
        ms.StreamingDataLoader(part, batch_size=7, num_workers=2),
    ]


def test_a_part_streams_and_resumes_and_is_told_from_the_others(folder: Path) -> None:
    make: Callable[[], Any] = lambda: ms.train_test_split(  # noqa: E731
        ms.StreamingDataset(folder, shuffle=True), splits=[0.5, 0.5]
    )
    train, test = make()
    expected = set(ids(make()[0]))
    for loader in loaders(train):
        found = [row for batch in loader for row in batch["id"].tolist()]
        assert (len(found), set(found)) == (50, expected)
    batches = iter(loader := ms.StreamingDataLoader(train, batch_size=7, num_workers=0))
    begun = [row for _ in range(3) for row in next(batches)["id"].tolist()]
    state = loader.state_dict()
    other = ms.StreamingDataLoader(make()[0], batch_size=5, num_workers=0)
    other.load_state_dict(state)
    rest = [row for batch in other for row in batch["id"].tolist()]
    assert sorted(begun + rest) == sorted(expected)
    assert "all 29 planned rows came once" in str(other.coverage())
    for wrong in (test, ms.StreamingDataset(folder, shuffle=True)):
        with pytest.raises(StateMismatch, match="the selected rows"):
            ms.StreamingDataLoader(wrong, batch_size=5, num_workers=0).load_state_dict(state)


def test_a_part_travels_as_what_it_is_made_from(folder: Path) -> None:
    train, _ = ms.train_test_split(ms.StreamingDataset(folder), splits=[0.5, 0.5])
    content = pickle.dumps(train)
    assert len(content) < 2_000
    assert ids(pickle.loads(content)) == ids(train)


@pytest.mark.parametrize(
    ("splits", "options", "said"),
    [
        ([0.6, 0.6], {}, "sum up to 1"),
        ([0.6, -0.1], {}, "expected positive"),
        ([], {}, "expected a list of numbers"),
        (0.5, {}, "expected a list of numbers"),
        (["a"], {}, "expected a list of numbers"),
        ([0.999, 0.001], {}, r"splits\[1\] is 0.001: of 100 samples that is none"),
        ([0.5, 0.5], {"seed": 0.5}, "expected an integer seed"),
        ([0.5, 0.5], {"by": "files"}, 'by "rows" or "chunks"'),
    ],
)
def test_what_makes_no_sense_is_refused(
    folder: Path, splits: Any, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        ms.train_test_split(ms.StreamingDataset(folder), splits, **options)


def test_only_a_streaming_dataset_can_be_split() -> None:
    with pytest.raises(UsageError, match="a list cannot be split"):
        ms.train_test_split([1, 2, 3], [0.5, 0.5])  # type: ignore[type-var]


def test_parts_can_be_mixed(folder: Path) -> None:
    train, test = ms.train_test_split(ms.StreamingDataset(folder), splits=[0.75, 0.25])
    mixed = ms.CombinedStreamingDataset([train, test], iterate_over_all=True, seed=3)
    assert sorted(ids(mixed)) == list(range(ROWS))
    loader = ms.StreamingDataLoader(mixed, batch_size=8, num_workers=0)
    found = [row for batch in loader for row in batch["id"].tolist()]
    assert sorted(found) == list(range(ROWS))
    assert loader.coverage().exact


# Blocks of tokens ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tokens 0 to 999, in documents and chunks of any length."""
    lengths = np.random.default_rng(5).multinomial(1_000, [1 / 30] * 30)
    return write(
        tmp_path_factory.mktemp("tokens") / "d", of_lengths(lengths.tolist()), chunk_size=90
    )


@given(weights, st.integers(1, 30), ways, st.booleans())
def test_of_tokens_the_blocks_are_dealt_out(
    tokens: Path, some: list[int], size: int, by: Any, shuffle: bool
) -> None:
    loader = ms.TokensLoader(block_size=size)
    dataset = ms.StreamingDataset(tokens, item_loader=loader, shuffle=shuffle)
    splits = [weight / sum(some) for weight in some]
    assume(min(splits) * len(dataset) >= 1)
    parts = ms.train_test_split(dataset, splits, by=by)
    for part, fraction in zip(parts, splits, strict=True):
        assert abs(len(part) - fraction * len(dataset)) < 1
    found = sorted((block.tolist() for part in parts for block in part), key=min)
    assert found == [list(range(n, n + size)) for n in range(0, 1_000 - size + 1, size)]


def test_a_part_of_tokens_streams_and_resumes_with_its_block_size(tokens: Path) -> None:
    def loader(size: int, number: int, batch_size: int) -> Any:
        dataset = ms.StreamingDataset(
            tokens, item_loader=ms.TokensLoader(block_size=size), shuffle=True
        )
        part = ms.train_test_split(dataset, splits=[0.5, 0.5])[number]
        return ms.StreamingDataLoader(part, batch_size=batch_size, num_workers=0)

    batches = iter(begun := loader(20, 0, 3))
    found = [next(batches) for _ in range(4)]
    state = begun.state_dict()
    rest = loader(20, 0, 5)
    rest.load_state_dict(state)
    found += rest
    other = list(loader(20, 1, 25))
    assert sorted(np.concatenate([*found, *other]).ravel().tolist()) == list(range(1_000))
    assert rest.coverage().exact
    for wrong, said in (((20, 1), "the selected rows"), ((25, 0), "block")):
        with pytest.raises(StateMismatch, match=said):
            loader(*wrong, 3).load_state_dict(state)
