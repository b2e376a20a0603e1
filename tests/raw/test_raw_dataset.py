"""StreamingRawDataset over a folder: every file once, in the order of the plan, whoever reads."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from trees import COUNT, Pairs, content, flat, make

import millstream as ms
from millstream import errors
from millstream.streaming import raw_dataset

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]


def loader(dataset: Any, **options: Any) -> ms.StreamingDataLoader:
    return ms.StreamingDataLoader(dataset, **{"batch_size": 16, **options})


# As a sequence ----------------------------------------------------------------------------------


def test_a_sample_is_the_bytes_of_a_file(root: Path, files: dict[str, bytes]) -> None:
    dataset, expected = ms.StreamingRawDataset(root), list(files.values())
    assert len(dataset) == COUNT
    assert list(dataset) == expected
    assert [dataset[0], dataset[-1], dataset[np.int64(7)]] == [expected[n] for n in (0, -1, 7)]
    assert dataset[3:9] == expected[3:9]
    assert dataset[::-50] == expected[::-50]
    assert dataset[[5, 2, 2, -1]] == [expected[n] for n in (5, 2, 2, -1)]
    assert dataset.__getitems__([4, 1]) == [expected[4], expected[1]]
    for outside in (COUNT, -COUNT - 1):
        with pytest.raises(errors.RowOutOfRange):
            dataset[outside]
    assert repr(dataset) == (
        f"StreamingRawDataset({str(root)!r}, 240 samples, 440.8 kB in 240 files)"
    )


def test_it_has_the_documented_names() -> None:
    assert raw_dataset.StreamingRawDataset is ms.StreamingRawDataset
    assert raw_dataset.FileMetadata is ms.FileMetadata


# As a stream ------------------------------------------------------------------------------------


@pytest.mark.parametrize("shuffle", [False, True])
def test_all_ways_of_iterating_give_the_planned_files(
    root: Path, files: dict[str, bytes], shuffle: bool
) -> None:
    dataset = ms.StreamingRawDataset(root, shuffle=shuffle, seed=3)
    plan = dataset.plan(batch_size=16)
    by_row = list(files.values())
    expected = [by_row[row] for step in range(plan.steps) for row in plan.batch(step, 0).tolist()]
    assert Counter(expected) == Counter(by_row)
    assert (expected == by_row) is not shuffle
    assert list(dataset) == expected
    assert flat(dataset.batches(7)) == expected
    for options in ({}, {"num_workers": 2}, {"num_workers": 2, "workers": "threads"}):
        some = loader(dataset, **options)
        assert [type(batch) for batch in some] == [list] * 15
        assert some.coverage().exact
        assert flat(loader(dataset, **options)) == expected
    for row in (0, 17, 239):
        (when,) = plan.when(row)
        assert plan.batch(when.step or 0, 0).tolist().count(row) == 1


def test_a_plain_torch_loader_shares_it_among_its_workers(
    root: Path, files: dict[str, bytes]
) -> None:
    dataset = ms.StreamingRawDataset(root, shuffle=True)
    assert isinstance(dataset, torch.utils.data.IterableDataset)
    shared = torch.utils.data.DataLoader(dataset, batch_size=8, num_workers=2)  # forked
    assert Counter(flat(shared)) == Counter(files.values())


def test_the_first_samples_of_a_shuffled_epoch_are_from_everywhere(root: Path) -> None:
    first = ms.StreamingRawDataset(root, shuffle=True).plan(batch_size=64).batch(0, 0)
    # Sorted by folder, so neighbours are alike: of 24 stretches nearly all are there.
    assert len({row // 10 for row in first.tolist()}) >= 20


@pytest.mark.parametrize("shuffle", [False, True])
def test_a_run_goes_on_exactly_in_any_other_shape(root: Path, shuffle: bool) -> None:
    first = loader(ms.StreamingRawDataset(root, shuffle=shuffle), num_workers=1)
    whole = flat(first)
    first.load_state_dict({**first.state_dict(), "epoch": 0, "position": 0})
    batches = iter(first)
    begun = flat(next(batches) for _ in range(4))
    state = json.loads(json.dumps(first.state_dict()))
    assert len(json.dumps(state)) < 1_000
    rest: list[list[bytes]] = []
    for rank in range(3):
        again = loader(
            ms.StreamingRawDataset(root, shuffle=shuffle), batch_size=5, rank=rank, ranks=3,
            drop_last=False,
        )  # fmt: skip
        again.load_state_dict(state)
        rest.append(flat(again))
        assert again.coverage().exact
    # Whose a position is, its remainder says: 64 is of rank 1.
    assert begun + [rest[position % 3].pop(0) for position in range(64, COUNT)] == whole
    assert rest == [[], [], []]


# What is done to samples ------------------------------------------------------------------------


def test_a_transform_gets_the_bytes_and_a_keyed_generator(root: Path) -> None:
    def noisy(sample: bytes, rng: np.random.Generator) -> tuple[int, float]:
        return len(sample), rng.random()

    def drawn(**options: Any) -> list[Any]:
        dataset = ms.StreamingRawDataset(root, transform=[noisy, list], shuffle=True)
        return [
            pair
            for lengths, draws in loader(dataset, **options)
            for pair in zip(lengths.tolist(), draws.tolist(), strict=True)
        ]

    expected = drawn()
    assert drawn(num_workers=2, batch_size=9) == expected
    assert len({draw for _, draw in expected}) == COUNT
    assert ms.StreamingRawDataset(root, transform=noisy)[3][0] == len(
        ms.StreamingRawDataset(root)[3]
    )


class Overridden(ms.StreamingRawDataset):
    def __getitem__(self, index: Any) -> Any:
        found = super().__getitem__(index)
        return len(found) if isinstance(found, bytes) else found


def test_a_subclass_may_override_getitem(root: Path, files: dict[str, bytes]) -> None:
    dataset = Overridden(root)
    assert list(dataset) == [len(content) for content in files.values()]
    assert dataset[:3] == list(dataset)[:3]


@pytest.mark.parametrize("workers", [0, 2])
def test_setup_makes_groups(root: Path, files: dict[str, bytes], workers: int) -> None:
    contents = list(files.values())
    expected = [[contents[n], contents[n - 1]] for n in range(1, COUNT, 2)]
    dataset = Pairs(root)
    assert (len(dataset), dataset[5], dataset[-1]) == (120, expected[5], expected[-1])
    assert list(dataset) == expected
    batches = list(loader(dataset, num_workers=workers))
    assert [len(batch) for batch in batches] == [2] * 8
    assert [list(pair) for batch in batches for pair in zip(*batch, strict=True)] == expected
    by_sample = loader(dataset, num_workers=workers, collate_fn=list)
    assert flat(by_sample) == expected
    assert by_sample.coverage().exact


class Ragged(ms.StreamingRawDataset):
    """A file, then two, then three, and so on."""

    def setup(self, files: list[ms.FileMetadata]) -> Sequence[Sequence[ms.FileMetadata]]:
        return [files[n * (n - 1) // 2 : n * (n + 1) // 2] for n in range(1, 8)]


def test_groups_may_differ_in_size(root: Path, files: dict[str, bytes]) -> None:
    contents = list(files.values())
    expected = [contents[n * (n - 1) // 2 : n * (n + 1) // 2] for n in range(1, 8)]
    dataset = Ragged(root)
    assert list(dataset) == dataset[:] == flat(dataset.batches(3)) == expected
    assert dataset[6] == expected[6]
    assert flat(loader(dataset, batch_size=2, num_workers=1, collate_fn=list)) == expected
    for options in ({}, {"num_workers": 1}):
        with pytest.raises(errors.UsageError, match="no default batch"):
            list(loader(dataset, batch_size=2, **options))
    with pytest.raises(errors.UsageError, match="different lengths"):
        Ragged(root, decode="numpy")


def test_files_are_decoded_as_fields_are(root: Path, files: dict[str, bytes]) -> None:
    contents = list(files.values())
    arrays = ms.StreamingRawDataset(root, decode="numpy")
    assert arrays[4].tobytes() == contents[4]
    assert Pairs(root, decode=len)[3] == [len(contents[7]), len(contents[6])]
    first, second = Pairs(root, decode=[None, len])[3]
    assert (first, second) == (contents[7], len(contents[6]))
    for dataset, decode in ((ms.StreamingRawDataset, [len]), (Pairs, [len]), (Pairs, [None] * 3)):
        with pytest.raises(errors.UsageError, match="decode says what"):
            dataset(root, decode=decode)


def test_an_image_and_its_mask_are_cut_alike(tmp_path: Path) -> None:
    from PIL import Image

    for number in range(6):
        pixels = np.random.default_rng(number).integers(0, 255, (40, 60, 3), np.uint8)
        for kind in ("image", "mask"):
            Image.fromarray(pixels).save(tmp_path / f"{number}-{kind}.png")
    cut = ms.JpegDecode(size=16, crop="random_resized", flip=True)
    dataset = Pairs(tmp_path, decode=[cut, cut], shuffle=True)
    for epoch in range(2):
        (batch,) = loader(dataset, batch_size=6, num_workers=epoch)
        assert [tensor.shape for tensor in batch] == [(6, 3, 16, 16)] * 2
        assert torch.equal(*batch)
    (tmp_path / "0-image.png").write_bytes(b"no image")
    with pytest.raises(errors.MillstreamError, match=r"0-mask\.png, 0-image\.png, field '1'"):
        list(loader(Pairs(tmp_path, decode=[cut, cut])))


# With other datasets ----------------------------------------------------------------------------


def test_it_is_mixed_put_beside_others_and_split(root: Path, files: dict[str, bytes]) -> None:
    one, other = (ms.StreamingRawDataset(root, shuffle=True, seed=seed) for seed in (1, 2))
    twice = Counter(dict.fromkeys(files.values(), 2))
    mixed = loader(ms.CombinedStreamingDataset([one, other]), num_workers=1)
    assert Counter(flat(mixed)) == twice
    assert mixed.coverage().exact
    beside = loader(ms.ParallelStreamingDataset([one, other]), num_workers=1)
    pairs = [pair for batch in beside for pair in zip(*batch, strict=True)]
    assert Counter(flat(pairs)) == twice
    parts = ms.train_test_split(one, [0.25, 0.75])
    assert [len(part) for part in parts] == [60, 180]
    assert Counter(flat(parts)) == Counter(files.values())
    assert len(ms.StreamingRawDataset(root, subsample=2.5)) == 600
    assert isinstance(parts[0], ms.StreamingRawDataset)


def test_it_is_an_input_of_optimize(root: Path, files: dict[str, bytes], tmp_path: Path) -> None:
    ms.optimize(
        lambda raw: {"raw": raw, "size": len(raw)}, ms.StreamingRawDataset(root), tmp_path / "d",
        chunk_size=50, num_workers=1, verbose=False,
    )  # fmt: skip
    samples = list(ms.StreamingDataset(tmp_path / "d"))
    assert [sample["raw"] for sample in samples] == list(files.values())


def test_a_pickle_keeps_what_was_listed(tmp_path: Path) -> None:
    made = make(tmp_path, 12)
    dataset = ms.StreamingRawDataset(tmp_path)
    copied = pickle.dumps(dataset)
    (tmp_path / "a" / "later.bin").write_bytes(b"new")
    assert list(pickle.loads(copied)) == list(made.values())


# What is wrong ----------------------------------------------------------------------------------


def test_a_place_without_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(errors.DatasetNotFound, match="is not a folder"):
        ms.StreamingRawDataset(tmp_path / "nowhere")
    with pytest.raises(errors.UsageError, match="there are no files below"):
        ms.StreamingRawDataset(tmp_path)
    (tmp_path / ".hidden").write_bytes(b"x")
    with pytest.raises(errors.UsageError, match="but perhaps hidden ones"):
        ms.StreamingRawDataset(tmp_path)
    with pytest.raises(errors.DatasetNotFound, match="is not a folder"):
        ms.StreamingRawDataset(tmp_path / ".hidden")


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("place", ["", "local:"])
@pytest.mark.parametrize("damage", ["grown", "shrunk", "emptied", "rewritten", "gone"])
def test_a_file_that_is_no_longer_the_listed_one_is_named(
    tmp_path: Path, damage: str, place: str, workers: int
) -> None:
    root = tmp_path / "tree"
    made = make(root, 60)
    dataset = ms.StreamingRawDataset(f"{place}{root}", cache_dir=tmp_path / "cache", shuffle=True)
    path, kept = root / "a" / "0042.bin", root.parent / "kept"
    shutil.copy2(path, kept)
    if damage == "gone":
        path.unlink()
    else:
        before = path.stat().st_mtime_ns
        other = {"grown": content(42) + b"x", "shrunk": content(42)[:-1], "emptied": b""}
        path.write_bytes(other.get(damage, content(42)[::-1]))
        if damage == "rewritten":
            os.utime(path, ns=(before + 1_000_000, before + 1_000_000))
    kind = errors.ObjectNotFound if damage == "gone" else errors.ObjectChanged
    some = loader(dataset, num_workers=workers)
    with pytest.raises(kind, match=r"0042\.bin") as caught:
        list(some)
    assert "open the dataset anew" in str(caught.value)
    assert "Traceback" not in str(caught.value)
    with pytest.raises(kind):
        dataset[list(made).index("a/0042.bin")]
    shutil.copy2(kept, path)  # the same again, with its time
    assert Counter(flat(some)) == Counter(made.values())


def test_arguments_without_effect_say_so_once(root: Path) -> None:
    with pytest.warns(UserWarning, match="recompute_index=False has no effect") as caught:
        ms.StreamingRawDataset(root, recompute_index=False, cache_files=False)
    assert [warning.filename for warning in caught] == [__file__]
    ms.StreamingRawDataset(root, recompute_index=True, cache_files=True)
    for wrong in ({"seed": "x"}, {"lanes": 0}, {"shuffle_window": 0}, {"subsample": 0}):
        with pytest.raises(errors.UsageError):
            ms.StreamingRawDataset(root, **wrong)  # type: ignore[arg-type]
