"""Fields of images: the same pixels whoever decodes them, and errors that say where."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg
import torch
from pictures import encoded, scene
from PIL import Image
from scripts import start
from torch.utils.data import DataLoader

import millstream as ms
from millstream.errors import CorruptData, UsageError
from millstream.reading.dataset import stream_of
from millstream.reading.output import Away
from millstream.reading.source import StoredRows

ROWS = 40
RANDOM = ms.JpegDecode(size=(20, 24), crop="random_resized", flip=True)


def sample(folder: Path, row: int) -> dict[str, Any]:
    path = folder / f"{row}.jpg"
    path.write_bytes(encoded(scene(50 + row, 70 - row, seed=row), quality=90))
    mask = Image.fromarray(np.array(scene(50 + row, 70 - row, seed=row).convert("L")))
    return {
        "image": Image.open(path),
        "mask": mask,
        "raw": path.read_bytes(),
        "row": row,
        "text": "a",
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("images")
    ms.optimize(
        lambda row: sample(place, row),
        range(ROWS),
        place / "d",
        num_workers=0,
        chunk_size=15,
        verbose=False,
    )
    return place / "d"


def opened(folder: Path, decode: Any = RANDOM, **options: Any) -> ms.StreamingDataset:
    fields = {"fields": ["image", "row"], "decode": {"image": decode}, "shuffle": True}
    return ms.StreamingDataset(folder, **{**fields, **options})


def by_row(batches: Any) -> dict[int, bytes]:
    """The pixels of each row of an epoch of batches."""
    return {
        int(row): np.asarray(image).tobytes()
        for batch in batches
        for image, row in zip(batch["image"], batch["row"], strict=True)
    }


# Files that a user opened are the user's to close.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def test_the_pixels_of_an_epoch_are_the_same_whoever_decodes_them(folder: Path) -> None:
    dataset = opened(folder)
    expected = by_row(dataset.batches(7))
    assert len(expected) == ROWS
    assert by_row(dataset.batches(16)) == expected
    ranks = [by_row(dataset.batches(5, rank=r, ranks=3, drop_last=False)) for r in range(3)]
    assert ranks[0] | ranks[1] | ranks[2] == expected
    for workers in (0, 2):
        assert (
            by_row(ms.StreamingDataLoader(dataset, batch_size=6, num_workers=workers)) == expected
        )
    assert by_row(DataLoader(opened(folder), batch_size=9, num_workers=2)) == expected
    copy = pickle.loads(pickle.dumps(opened(folder)))
    assert by_row([{"image": [s["image"]], "row": [s["row"]]} for s in copy]) == expected
    with_transform = opened(folder, transform=lambda sample, rng: {**sample, "x": rng.random()})
    assert by_row(ms.StreamingDataLoader(with_transform, batch_size=8)) == expected
    resumed = opened(folder).batches(3)
    resumed.load_state_dict(opened(folder, decode="numpy").batches(3).state_dict())
    assert by_row(resumed) == expected  # the state knows nothing of decoding


def test_each_epoch_seed_and_sample_is_another(folder: Path) -> None:
    batches = opened(folder).batches(ROWS)
    first, second = by_row(batches), by_row(batches)
    other = by_row(opened(folder, seed=1).batches(ROWS))
    for some in (second, other):
        assert sum(first[row] != some[row] for row in first) == ROWS
    still = ms.JpegDecode(size=(20, 24), crop="center")
    batches = opened(folder, decode=still).batches(ROWS)
    assert by_row(batches) == by_row(batches)


def test_an_index_decodes_a_row_alike_each_time(folder: Path) -> None:
    dataset, again = opened(folder), opened(folder, shuffle=False)
    several = dataset[[3, 9, 3]]
    assert np.array_equal(several[0]["image"], several[2]["image"])
    for index in (3, 9):
        assert np.array_equal(dataset[index]["image"], again[index]["image"])
    assert np.array_equal(several[1]["image"], dataset[9:10][0]["image"])
    assert not np.array_equal(opened(folder, seed=5)[3]["image"], dataset[3]["image"])
    row = by_row(dataset.batches(ROWS))[3]
    assert dataset[3]["image"].tobytes() != row


def test_fields_of_a_sample_are_cut_alike(folder: Path) -> None:
    grey = ms.JpegDecode(size=(20, 24), crop="random_resized", flip=True, mode="L")
    dataset = ms.StreamingDataset(
        folder,
        decode={"image": RANDOM, "raw": RANDOM, "mask": grey},
        fields=["image", "raw", "mask"],
    )
    for batch in dataset.batches(13):
        assert batch["image"].shape[1:] == (3, 20, 24)
        assert np.array_equal(batch["image"], batch["raw"])
        luma = np.tensordot(batch["image"], [0.299, 0.587, 0.114], axes=(1, 0))
        assert np.abs(luma - batch["mask"][:, 0]).mean() < 6


def test_shapes_and_types(folder: Path) -> None:
    batch = next(iter(ms.StreamingDataLoader(opened(folder), batch_size=4)))
    assert (batch["image"].dtype, batch["image"].shape) == (torch.uint8, (4, 3, 20, 24))
    last = opened(folder, decode=ms.JpegDecode(size=9, layout="hwc", mode="L"))
    assert next(iter(last.batches(4)))["image"].shape == (4, 9, 9, 1)
    sizes = opened(folder, decode=ms.JpegDecode(), shuffle=False)
    found = next(iter(sizes.batches(3)))["image"]
    assert [image.shape for image in found] == [(3, 70, 50), (3, 69, 51), (3, 68, 52)]
    with pytest.raises(UsageError, match="one size for all"):
        next(iter(ms.StreamingDataLoader(sizes, batch_size=3)))
    for field in ("text", "row"):
        with pytest.raises(UsageError, match=f"'{field}'"):
            ms.StreamingDataset(folder, decode={field: RANDOM})


def rows_of(dataset: ms.StreamingDataset, count: int) -> StoredRows:
    stream, rows = stream_of(dataset), np.arange(count)
    return stream.read(stream.order(1).epoch(0), rows, lambda: rows)


def test_a_batch_is_decoded_into_the_memory_that_is_given(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decodes, given = [], []
    real = simplejpeg.decode_jpeg
    monkeypatch.setattr(
        simplejpeg, "decode_jpeg", lambda *a, **k: decodes.append(1) or real(*a, **k)
    )

    def allocate(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        given.append(np.full(shape, 7, dtype))
        return given[-1]

    read = rows_of(opened(folder), 12)
    columns = read.columns(Away(allocate))
    assert len(decodes) == 12
    assert [array.shape for array in given] == [(12, 3, 20, 24)]
    assert columns[0] is given[0]
    expected = [sample["image"] for sample in read.samples()]
    assert np.array_equal(given[0], np.stack(expected))


@pytest.mark.parametrize("decode", [RANDOM, ms.JpegDecode(), "numpy", "torch"])
@pytest.mark.parametrize("field", ["image", "raw"])
def test_a_bad_image_is_named_by_field_chunk_and_row(
    tmp_path: Path, field: str, decode: Any
) -> None:
    if field == "raw" and not isinstance(decode, ms.JpegDecode):
        return  # bytes are what they are

    def fn(row: int) -> dict[str, Any]:
        content = encoded(scene(60, 40, seed=row))
        content = content if row != 17 else content[: len(content) // 2]
        (tmp_path / f"{row}.jpg").write_bytes(content)
        return {
            "image": Image.open(tmp_path / f"{row}.jpg"),
            "raw": content,
        }

    ms.optimize(fn, range(20), tmp_path / "d", num_workers=0, chunk_size=15, verbose=False)
    dataset = ms.StreamingDataset(tmp_path / "d", fields=[field], decode={field: decode})
    chunk = stream_of(dataset).source.manifest.chunks.name(1)
    where = rf"chunk {chunk}, row 2, field '{field}': not a readable JPEG"
    assert len(dataset[:17]) == 17
    for read in (lambda: dataset[17], lambda: list(dataset), lambda: list(dataset.batches(6))):
        with pytest.raises(CorruptData, match=where):
            read()


def test_pixels_do_not_depend_on_simplejpeg_nor_need_torch(folder: Path) -> None:
    code = """
        import hashlib
        import sys
        if sys.argv[2] == "without":
            sys.modules["simplejpeg"] = None
        import millstream as ms
        decode = ms.JpegDecode(size=(20, 24), crop="random_resized", flip=True)
        dataset = ms.StreamingDataset(
            sys.argv[1], fields=["image"], decode={"image": decode}, shuffle=True
        )
        digest = hashlib.sha256()
        for batch in dataset.batches(8):
            digest.update(batch["image"].tobytes())
        print(digest.hexdigest(), "simplejpeg._jpeg" in sys.modules, "torch" in sys.modules)
        """
    digest = hashlib.sha256()
    for batch in opened(folder).batches(8):
        digest.update(batch["image"].tobytes())
    for how, used in (("with", True), ("without", False)):
        out, err = start(code, folder, how).communicate()
        assert (out, err) == (f"{digest.hexdigest()} {used} False\n", "")


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("transform", [None, lambda sample: sample], ids=["columns", "samples"])
def test_images_of_one_size_have_a_default_batch(
    tmp_path: Path, workers: int, transform: Any
) -> None:
    """The one that decode="torch" gives; of several sizes they have none."""
    for name, sizes in (("one", [8]), ("several", [8, 9])):
        ms.optimize(
            lambda i, sizes=sizes: {
                "image": scene(12, sizes[i % len(sizes)], seed=i),
                "jpeg": ms.Jpeg(bytes=encoded(scene(9, 7, seed=i).convert("L"))),
            },
            range(8), tmp_path / name, num_workers=0, verbose=False,
        )  # fmt: skip
    plain = ms.StreamingDataset(tmp_path / "one", transform=transform)
    (batch,) = ms.StreamingDataLoader(plain, batch_size=8, num_workers=workers)
    decode = {"image": "torch", "jpeg": "torch"}
    decoded = ms.StreamingDataset(tmp_path / "one", decode=decode)
    (expected,) = ms.StreamingDataLoader(decoded, batch_size=8)
    assert [tuple(batch[name].shape) for name in decode] == [(8, 3, 8, 12), (8, 1, 7, 9)]
    assert all(torch.equal(batch[name], expected[name]) for name in decode)
    several = ms.StreamingDataset(tmp_path / "several", transform=transform)
    with pytest.raises(UsageError, match="no default batch"):
        next(iter(ms.StreamingDataLoader(several, batch_size=8, num_workers=workers)))
