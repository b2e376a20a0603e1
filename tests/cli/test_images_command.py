"""`millstream images`: sizes, qualities and what they are worth, of files that stay as they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import millstream as ms
from photos import make_photos


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("photos")
    make_photos(place, 12)
    Image.new("RGB", (40, 30), (9, 99, 199)).save(place / "plain.png")
    (place / "notes.txt").write_text("not an image")
    return place


def test_as_json(folder: Path, run: Any) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    code, out, err = run(
        "images", folder, "--json", "--max-sides", "64,all", "--qualities", "50,95", "--sample", 90
    )
    assert code == 0
    assert "notes.txt is left out: " in err
    found = json.loads(out)
    # photos.json lies there too, and is none of them.
    assert (found["files"], found["sample"]) == (15, 13)
    now, *tried = found["trials"]
    assert (now["max_side"], now["quality"], now["psnr"]) == (None, None, None)
    assert [(t["max_side"], t["quality"]) for t in tried] == [
        (64, 50), (64, 95), (None, 50), (None, 95)
    ]  # fmt: skip
    small, small_fine, large, fine = tried
    assert small["bytes"] < small_fine["bytes"] < now["bytes"]
    assert small["bytes"] < large["bytes"] < fine["bytes"]
    assert 20 < small["psnr"] < small_fine["psnr"] < 70
    assert 20 < large["psnr"] < fine["psnr"] < 70
    assert all(trial["decode_seconds"] >= 0 for trial in found["trials"])
    paths = sorted(folder.rglob("*.jpg"))
    sizes = [len(ms.Jpeg(path, quality=50).bytes or b"") for path in (*paths, folder / "plain.png")]
    assert large["bytes"] == pytest.approx(sum(sizes) / 13)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_as_text(folder: Path, run: Any) -> None:
    code, out, _ = run("images", f"{folder}/**/*.jpg", "--sample", 3)
    first, _, titles, now, *tried = out.splitlines()
    assert (code, first) == (0, "3 of 12 files, on average:")
    assert titles.split() == ["MAX", "SIDE", "QUALITY", "SIZE", "SHARE", "DECODING", "PSNR"]
    assert now.startswith("as it is")
    assert "100 %" in now
    assert [line.split()[:2] for line in tried] == [
        [side, quality] for side in ("256", "512", "all") for quality in ("75", "85", "95")
    ]


@pytest.mark.parametrize(
    ("inputs", "options", "words"),
    [
        ("{}/*.txt", [], "none of the 1 file is a JPEG, PNG or TIFF image"),
        ("{}/none", [], "gives no input"),
        ("s3://bucket/photos", [], "copy some of these"),
    ],
)
def test_inputs_that_are_none(
    folder: Path, run: Any, inputs: str, options: list[str], words: str
) -> None:
    code, out, err = run("images", inputs.format(folder), *options)
    assert (code, out) == (2, "")
    assert words in err


@pytest.mark.parametrize("options", [("--qualities", "90,101"), ("--max-sides", "0")])
def test_numbers_that_make_no_sense(folder: Path, run: Any, options: tuple[str, str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run("images", folder, *options)
    assert ended.value.code == 2
