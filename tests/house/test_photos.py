"""The photographs that the demo and other tests use."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageStat

from contact_sheet import contact_sheet
from photos import PHOTOS, make_photos

COUNT = 4 * len(PHOTOS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("photos")


@pytest.fixture(scope="module")
def paths(folder: Path) -> list[Path]:
    return make_photos(folder, COUNT)


def test_the_files_are_distinct_and_spread_over_all_photographs(paths: list[Path]) -> None:
    assert paths == sorted(set(paths))
    assert len({hashlib.sha256(path.read_bytes()).digest() for path in paths}) == COUNT
    per_label = Counter(path.parent.name for path in paths)
    assert per_label == {f"{label:02d}_{photo.name}": 4 for label, photo in enumerate(PHOTOS)}


def test_each_file_is_a_picture_with_contents(paths: list[Path]) -> None:
    for path in paths:
        with Image.open(path) as image:
            assert (image.format, image.mode) == ("JPEG", "RGB")
            assert min(image.size) > 150
            assert max(image.size) < 700
            assert max(ImageStat.Stat(image).stddev) > 5, path


def test_a_second_call_makes_only_what_is_missing(folder: Path, paths: list[Path]) -> None:
    lost, kept = paths[7], paths[8]
    before = lost.read_bytes()
    stamp = kept.stat().st_mtime_ns
    lost.unlink()
    assert make_photos(folder, COUNT) == paths
    assert lost.read_bytes() == before
    assert kept.stat().st_mtime_ns == stamp


def test_other_arguments_do_not_mix_into_the_folder(folder: Path, paths: list[Path]) -> None:
    with pytest.raises(FileExistsError, match="seed"):
        make_photos(folder, COUNT, seed=1)
    assert sorted(folder.glob("*/*")) == paths


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError):
        make_photos(tmp_path, 4)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_contact_sheet_shows_every_image(tmp_path: Path) -> None:
    images = [Image.new("RGB", (300, 200), (255, 0, 0)) for _ in range(5)]
    contact_sheet(
        images, ["a caption far too long for one cell"] * 5, tmp_path / "s.png", columns=3
    )
    with Image.open(tmp_path / "s.png") as sheet:
        red = (np.asarray(sheet) == (255, 0, 0)).all(axis=2)
    assert red.sum() == 5 * 160 * 107
