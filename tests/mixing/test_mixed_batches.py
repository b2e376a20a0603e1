"""Batches of mixtures: made where they are wanted, of any kind of field, the same by any worker."""

from __future__ import annotations

from collections import Counter
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from documents import blocks_of, of_lengths, write
from PIL import Image

import millstream as ms
from millstream.errors import CorruptData
from millstream.reading.dataset import stream_of
from millstream.reading.output import Away, Here
from millstream.reading.stats import NOTHING
from millstream.reading.streamed import feed_of

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")
WAYS: list[dict[str, Any]] = [{}, {"num_workers": 2}, {"num_workers": 2, "workers": "threads"}]
ROWS = {"x": 90, "y": 50}
RANDOM = ms.JpegDecode(size=8, crop="random_resized", flip=True)


def sample(name: str, i: int) -> dict[str, Any]:
    pixels = np.random.default_rng([i, name == "x"]).integers(0, 256, (12, 12, 3))
    return {
        "from": name,
        "id": i,
        "even": i % 2 == 0,
        "raw": name.encode() * (i % 7),
        "t": torch.full((3,), i, dtype=torch.bfloat16),
        "image": Image.fromarray(pixels.astype(np.uint8)),
    }


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("kinds")
    for name, rows in ROWS.items():
        options = {"chunk_size": 20, "num_workers": 0, "verbose": False}
        ms.optimize(lambda i, name=name: sample(name, i), range(rows), place / name, **options)
    return place


def opened(places: Path, name: str, **options: Any) -> ms.StreamingDataset:
    options = {"shuffle": True, "decode": {"image": RANDOM}, **options}
    return ms.StreamingDataset(places / name, seed=ord(name), **options)


def mixed(places: Path) -> ms.CombinedStreamingDataset:
    return ms.CombinedStreamingDataset([opened(places, "x"), opened(places, "y")], seed=3)


def beside(places: Path) -> ms.ParallelStreamingDataset:
    return ms.ParallelStreamingDataset([mixed(places), opened(places, "y")], length=200)


def same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, list):
        return all(map(same, one, other))
    return type(one) is type(other) and bool(one == other)


@pytest.mark.parametrize("make", [mixed, beside])
@pytest.mark.parametrize("way", WAYS, ids=str)
def test_columns_are_the_samples_whoever_makes_them(
    places: Path, make: Any, way: dict[str, Any]
) -> None:
    by_sample = ms.StreamingDataLoader(
        make(places), batch_size=16, collate_fn=torch.utils.data.default_collate
    )
    by_column = ms.StreamingDataLoader(make(places), batch_size=16, **way)
    for _ in range(2):
        assert all(map(same, by_column, by_sample))
        assert by_column.coverage().exact
    assert by_column.stats().batches == 2 * len(by_column)


def test_a_batch_of_several_datasets_is_made_in_the_memory_that_is_given(places: Path) -> None:
    given: list[np.ndarray] = []

    def allocate(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        given.append(np.empty(shape, dtype))
        return given[-1]

    feed = feed_of(mixed(places))
    epoch, at = feed.order(1).epoch(0), np.arange(32)
    read = feed.read(epoch, epoch.rows(at), lambda: at, allocate)
    assert not given  # these are no rows of one dataset
    columns = read.columns(Away(allocate))
    names = [field.name for field in read.source.fields]
    packed = columns[names.index("raw")].content
    arrays = [packed, *(column for column in columns if isinstance(column, np.ndarray))]
    assert len(arrays) == len(given) == 5  # all but the text
    for array, own in zip(sorted(arrays, key=_address), sorted(given, key=_address), strict=True):
        assert np.shares_memory(array, own)


def _address(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


def test_rows_of_one_dataset_are_read_straight_to_the_batch(places: Path) -> None:
    given: list[np.ndarray] = []
    feed = feed_of(mixed(places))
    read = feed.read(
        feed.order(1).epoch(0), np.arange(100, 104), lambda: np.arange(4),
        lambda shape, dtype: given.append(np.empty(shape, dtype)) or given[-1],
    )  # fmt: skip
    columns = read.columns(Here())
    assert given
    assert all(any(column is one for column in columns) for one in given if one.dtype.kind == "i")
    assert read.taken.tolist() == [100, 101, 102, 103]


def test_what_is_drawn_is_keyed_by_the_seed_of_the_dataset_and_the_place_in_the_mixture(
    places: Path,
) -> None:
    both = mixed(places)
    plan = both.plan(batch_size=16, epoch=1)
    batches = ms.StreamingDataLoader(both, batch_size=16)
    batches.set_epoch(1)
    streams = {"x": stream_of(opened(places, "x")), "y": stream_of(opened(places, "y"))}
    for step, batch in enumerate(batches):
        images = zip(
            plan.positions(step, 0), batch["from"], batch["id"], batch["image"], strict=True
        )
        for position, name, row, image in images:
            at = np.array([position])
            read = streams[name].read(plan.epoch, np.array([int(row)]), lambda at=at: at)
            assert np.array_equal(next(read.samples())["image"], image.numpy())


def test_nothing_is_added_up_where_all_is_near(places: Path) -> None:
    assert feed_of(mixed(places)).stats is NOTHING
    assert feed_of(beside(places)).stats is NOTHING


def test_an_image_that_is_none_is_named_in_its_own_dataset(tmp_path: Path) -> None:
    for name, broken in (("good", -1), ("bad", 7)):
        ms.optimize(
            lambda i, broken=broken: {"image": b"no image" if i == broken else _png(i)},
            range(20), tmp_path / name, chunk_size=5, num_workers=0, verbose=False,
        )  # fmt: skip
    parts = [ms.StreamingDataset(tmp_path / n, decode={"image": RANDOM}) for n in ("good", "bad")]
    chunk = stream_of(parts[1]).source.manifest.chunks.name(1)
    for way in WAYS:
        with pytest.raises(CorruptData, match=f"chunk {chunk}, row 2, field 'image'"):
            list(ms.StreamingDataLoader(ms.CombinedStreamingDataset(parts), batch_size=8, **way))


def _png(i: int) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (9, 9), (i, i, i)).save(buffer, "PNG")
    return buffer.getvalue()


SIZE = 33


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Two datasets of tokens, with their documents: those of the second are from 20,000 on."""
    place = tmp_path_factory.mktemp("tokens")
    docs = {"slim": of_lengths([170] * 40), "star": [d + 20_000 for d in of_lengths([90] * 30)]}
    for name, some in docs.items():
        write(place / name, some, chunk_size=SIZE * 8)
    return {"place": place, "docs": docs}


def blocks(tokens: dict[str, Any], **options: Any) -> ms.CombinedStreamingDataset:
    parts = [
        ms.StreamingDataset(
            f"{options.get('scheme', '')}{tokens['place'] / name}",
            item_loader=ms.TokensLoader(block_size=SIZE),
            shuffle=True,
            drop_last=True,
            **options.get("each", {}),
        )
        for name in ("slim", "star")
    ]
    return ms.CombinedStreamingDataset(
        parts, seed=42, weights=(0.693584, 0.306416), iterate_over_all=False
    )


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("far", [False, True])
def test_blocks_of_tokens_are_mixed(
    tokens: dict[str, Any], way: dict[str, Any], far: bool, tmp_path: Path
) -> None:
    where = {"scheme": "local:", "each": {"cache_dir": tmp_path}} if far else {}
    loader = ms.StreamingDataLoader(blocks(tokens, **where), batch_size=8, **way)
    got = torch.cat(list(loader)).numpy()
    assert loader.coverage().exact
    assert got.dtype == np.uint16
    found = Counter(block.tobytes() for block in got)
    assert set(found.values()) == {1}
    written = [
        block.tobytes() for docs in tokens["docs"].values() for block in blocks_of(docs, SIZE)
    ]
    assert found.keys() <= set(written)
    late = int((got[:, 0] >= 20_000).sum())
    assert abs(late - blocks(tokens).counts()[1]) < 8  # what does not fill a batch is left out
    assert abs(late / len(got) - 0.306416) < 0.02


def test_a_run_over_blocks_goes_on_in_another_shape(tokens: dict[str, Any]) -> None:
    first = ms.StreamingDataLoader(blocks(tokens), batch_size=8, num_workers=1)
    batches = iter(first)
    begun = [next(batches) for _ in range(5)]
    whole = torch.cat(list(ms.StreamingDataLoader(blocks(tokens), batch_size=4)))
    again = ms.StreamingDataLoader(blocks(tokens), batch_size=4)
    again.load_state_dict(first.state_dict())
    assert torch.equal(torch.cat([*begun, *again]), whole)
