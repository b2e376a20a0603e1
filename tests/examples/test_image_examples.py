"""The examples about images: from the web, a benchmark, and tiles of a raster."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import tifffile
from PIL import Image
from pyarrow import parquet
from running import run
from servers.faultproxy import FaultProxy
from servers.faults import Status
from servers.http import HTTPServer

import millstream as ms
from geospatial_tiles import PART, SIDE, augment
from photos import make_photos

pytestmark = pytest.mark.timeout(200)

GOOD, BAD = 12, {"cut.jpg": "OSError", "page.html": "Unidentified", "gone.jpg": "404"}


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Photographs, one of which is a WebP file; one that is cut off, and a page."""
    paths = make_photos(tmp_path / "site", GOOD)
    with Image.open(paths[0]) as image:
        image.save(paths[0].with_suffix(".webp"))
    (tmp_path / "site" / "cut.jpg").write_bytes(paths[1].read_bytes()[:5_000])
    (tmp_path / "site" / "page.html").write_text("<html>no image</html>")
    return tmp_path / "site"


def test_download_images(tmp_path: Path, site: Path) -> None:
    names = [*sorted(str(path.relative_to(site)) for path in site.glob("*/*")), *BAD]
    with HTTPServer(site) as server, FaultProxy(server.url) as proxy:
        # Each is refused once, and is to be asked for again at once.
        proxy.do(Status(code=503, headers={"Retry-After": "0"}, per_key=True, times=1))
        rows = [{"url": f"{proxy.url}/{name}", "caption": name} for name in names]
        rows.append({"url": (site / names[0]).as_uri(), "caption": "not on the web"})
        (tmp_path / "list.jsonl").write_text("\n".join(map(json.dumps, rows)))
        said = run("download_images.py", "list.jsonl", "d", "--max-side", 200, cwd=tmp_path)
        asked = Counter(request.key for request in proxy.tally().log)
        proxy.reset()
        # It is done: called again, it asks for nothing.
        again = run("download_images.py", "list.jsonl", "d", "--max-side", 200, cwd=tmp_path)
        assert not proxy.tally().log
    good = [row for row in rows[:-1] if row["caption"] not in BAD]
    assert asked == {f"/{name}": 2 for name in names}
    assert f"{len(good)} images; 4 URLs without one" in said
    assert "was already complete" in again
    missing = dict(line.split("\t") for line in (tmp_path / "missing.txt").read_text().splitlines())
    assert list(missing) == [row["url"] for row in rows if row not in good]
    for name, why in BAD.items():
        assert why in missing[f"{proxy.url}/{name}"]
    found = ms.StreamingDataset(tmp_path / "d")
    # In the order of the list, with their own captions and their own pixels.
    assert [(s["url"], s["caption"]) for s in found] == [(r["url"], r["caption"]) for r in good]
    for sample in found:
        with Image.open(site / sample["caption"]) as image:
            assert max(sample["image"].size) == 200
            wanted = image.convert("RGB").resize(sample["image"].size)
        difference = np.asarray(wanted, float) - np.asarray(sample["image"], float)
        assert np.abs(difference).mean() < 12


def test_lists_of_other_kinds_are_added(tmp_path: Path, site: Path) -> None:
    names = sorted(str(path.relative_to(site)) for path in site.glob("*/*.jpg"))
    with HTTPServer(site) as server:
        rows = [{"url": f"{server.url}/{name}", "caption": f"it's {name}, 1"} for name in names]
        with (tmp_path / "list.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, ["url", "caption"])
            writer.writeheader()
            writer.writerows(rows[:2])
        parquet.write_table(pa.Table.from_pylist(rows[2:5]), tmp_path / "list.parquet")
        run("download_images.py", "list.csv", "d", cwd=tmp_path)
        run("download_images.py", "list.parquet", "d", "--append", cwd=tmp_path)
    assert [sample["caption"] for sample in ms.StreamingDataset(tmp_path / "d")] == [
        row["caption"] for row in rows[:5]
    ]


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
