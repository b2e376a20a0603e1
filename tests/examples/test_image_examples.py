"""The examples that train on images: a benchmark, and tiles of a raster."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tifffile
from running import run

import millstream as ms
from geospatial_tiles import PART, SIDE, augment
from photos import make_photos

pytestmark = pytest.mark.timeout(200)


def test_imagenet(tmp_path: Path) -> None:
    paths = make_photos(tmp_path / "photos", 32)
    said = run(
        "imagenet.py", tmp_path / "d", "--photos", tmp_path / "photos", "--batch-size", 8,
        "--workers", 1, "--epochs", 2,
    )  # fmt: skip
    rates = re.findall(r"^(\w+(?: \d)?) +[\d,]+ images/s \((\d+) images\)$", said, re.MULTILINE)
    assert rates == [("write", "32"), ("epoch 0", "32"), ("epoch 1", "32"), ("train", "32")]
    assert "Bottleneck" in said
    classes = sorted(path.name for path in (tmp_path / "photos").iterdir() if path.is_dir())
    found = ms.StreamingDataset(tmp_path / "d", decode={"image": "bytes"})
    assert Counter((classes[s["label"]], bytes(s["image"])) for s in found) == Counter(
        (path.parent.name, path.read_bytes()) for path in paths
    )


def test_imagenet_makes_smaller_files(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    (photos / "upper").mkdir(parents=True)
    for path in make_photos(tmp_path / "made", 3):
        (photos / "upper" / f"{path.stem}.JPEG").write_bytes(path.read_bytes())
    run("imagenet.py", tmp_path / "d", "--photos", photos, "--max-side", 100, "--epochs", 0)
    assert {max(s["image"].size) for s in ms.StreamingDataset(tmp_path / "d")} == {100}


def test_geospatial_tiles(tmp_path: Path) -> None:
    said = run("geospatial_tiles.py", "d", cwd=tmp_path)
    assert "was already complete" in run("geospatial_tiles.py", "d", cwd=tmp_path)
    pixels, mask = (tifffile.imread(tmp_path / name) for name in ("raster.tif", "mask.tif"))
    assert pixels.dtype == np.uint16
    assert pixels.shape == (*mask.shape, 4)
    seen = np.zeros(mask.shape, int)
    for tile in ms.StreamingDataset(tmp_path / "d"):
        assert tile["where"]["epsg"] == 32_632
        left, width, _, top, _, height = tile["where"]["transform"]
        row, column = round((5_200_000 - top) / -height), round((left - 400_000) / width)
        window = np.s_[row : row + SIDE, column : column + SIDE]
        assert np.array_equal(np.moveaxis(tile["image"], 0, -1), pixels[window])
        assert np.array_equal(tile["mask"], mask[window])
        seen[window] += 1
    assert seen.min() == 1  # nothing of the raster is left out
    assert said.count(f"(4, 4, {PART}, {PART})") == 4


def test_image_and_mask_are_turned_alike(tmp_path: Path) -> None:
    """Each band is a copy of the mask: so it still is after the augmentation, which is repeated."""

    def tile(number: int) -> dict[str, np.ndarray]:
        mask = np.random.default_rng(number).integers(0, 2, (SIDE, SIDE), np.uint8)
        return {"image": np.stack([mask.astype(np.uint16)] * 4), "mask": mask}

    ms.optimize(tile, range(8), tmp_path / "d", num_workers=0, verbose=False)

    def epoch() -> list[dict[str, np.ndarray]]:
        return list(ms.StreamingDataset(tmp_path / "d", shuffle=True, transform=augment))

    first, second = epoch(), epoch()
    for one, other in zip(first, second, strict=True):
        assert one["mask"].shape == (PART, PART)
        assert all(np.array_equal(band, one["mask"]) for band in one["image"])
        assert np.array_equal(one["mask"], other["mask"])
    assert len({sample["mask"].tobytes() for sample in first}) == 8
