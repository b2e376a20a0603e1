"""Jpeg with quality= and max_side=: the size, the quality, the way up, and the same bytes."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kills import tree
from PIL import Image as Pillow
from PIL import ImageOps

import millstream as ms
from millstream import errors
from millstream.format.codecs.recoding import smaller
from photos import installed, make_photos

EXIF_ORIENTATION = 0x0112


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return make_photos(tmp_path_factory.mktemp("photos"), 8)


def opened(content: bytes | None) -> Any:
    assert content is not None
    image = Pillow.open(io.BytesIO(content))
    image.load()
    return image


def file_of(image: Any, kind: str = "JPEG", **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def psnr(one: Any, other: Any) -> float:
    difference = np.asarray(one, float) - np.asarray(other, float)
    return float(10 * np.log10(255**2 / max((difference**2).mean(), 1e-9)))


@given(st.tuples(st.integers(1, 9_000), st.integers(1, 9_000)), st.integers(1, 3_000))
def test_sizes(size: tuple[int, int], most: int) -> None:
    width, height = smaller(size, most)
    assert max(width, height) == min(max(size), most)
    assert min(width, height) >= 1
    assert abs(width * size[1] - height * size[0]) <= 0.5 * max(size) or min(width, height) == 1
    assert smaller(size, None) == size


def test_a_smaller_file_of_the_same_picture(paths: list[Path]) -> None:
    for path in paths:
        original = opened(path.read_bytes())
        small = ms.Jpeg(path, max_side=200, quality=90)
        image = opened(small.bytes)
        assert (image.format, image.size) == ("JPEG", smaller(original.size, 200))
        assert len(small.bytes or b"") < path.stat().st_size
        exact = original.resize(image.size, Pillow.Resampling.LANCZOS)
        assert psnr(image, exact) > 30
        better = opened(ms.Jpeg(path, max_side=200, quality=97).bytes)
        assert psnr(better, exact) > psnr(image, exact)
        same_size = ms.Jpeg(path, quality=50)
        assert opened(same_size.bytes).size == original.size


def test_what_is_skipped_in_decoding_does_not_show() -> None:
    """A JPEG four times too large is decoded at half its size, and shows the same."""
    for label, whole in installed():
        if label % 5:
            continue
        content = file_of(whole, quality=92)
        side = max(whole.size) // 4
        exact = opened(content).resize(smaller(whole.size, side), Pillow.Resampling.LANCZOS)
        made = opened(ms.Jpeg(bytes=content, max_side=side, quality=100).bytes)
        assert psnr(opened(file_of(exact, quality=100)), made) > 40


def test_a_small_upright_jpeg_keeps_its_bytes(paths: list[Path]) -> None:
    kept = ms.Jpeg(paths[0], max_side=4_000)
    assert kept.source is not None
    assert kept.bytes is None
    content = paths[0].read_bytes()
    assert ms.Jpeg(bytes=content, max_side=4_000).bytes == content
    assert ms.Jpeg(bytes=content, max_side=4_000, quality=90).bytes != content
    assert ms.Jpeg(paths[0]).source is not None


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("max_side", [None, 24])
def test_upright(orientation: int, max_side: int | None) -> None:
    pixels = np.zeros((32, 48), np.uint8)
    pixels[:8, :12] = 250  # a bright corner, left at the top
    exif = Pillow.Exif()
    exif[EXIF_ORIENTATION] = orientation
    content = file_of(Pillow.fromarray(pixels), quality=95, exif=exif)
    found = opened(ms.Jpeg(bytes=content, quality=95, max_side=max_side).bytes)
    assert EXIF_ORIENTATION not in found.getexif()
    shown = ImageOps.exif_transpose(opened(content))
    if max_side is not None:
        shown = shown.resize(smaller(shown.size, max_side), Pillow.Resampling.LANCZOS)
    assert found.size == shown.size
    assert psnr(found, shown) > 30
    # Turned by the limit of the side alone, too: what comes out is always upright.
    alone = ms.Jpeg(bytes=content, max_side=4_000)
    assert (alone.bytes == content) == (orientation == 1)


@pytest.mark.parametrize(
    ("mode", "kind", "result"),
    [("RGB", "PNG", "RGB"), ("L", "PNG", "L"), ("RGBA", "PNG", "RGB"), ("P", "PNG", "RGB"),
     ("1", "PNG", "L"), ("LA", "PNG", "L"), ("CMYK", "JPEG", "RGB"), ("RGB", "TIFF", "RGB")],
)  # fmt: skip
def test_other_files_become_jpeg(paths: list[Path], mode: str, kind: str, result: str) -> None:
    image = opened(paths[0].read_bytes()).resize((64, 48)).convert(mode)
    made = ms.Jpeg(bytes=file_of(image, kind), quality=95)
    found = opened(made.bytes)
    assert (made.container, found.format, found.mode) == ("JPEG", "JPEG", result)
    assert psnr(found.convert("RGB"), image.convert("RGB")) > 22  # a palette is dithered


def test_arrays_become_jpeg(paths: list[Path]) -> None:
    pixels = np.asarray(opened(paths[0].read_bytes()).convert("RGB"))
    found = opened(ms.Jpeg(array=pixels).bytes)
    assert psnr(found, pixels) > 30
    assert opened(ms.Jpeg(array=pixels[..., :1], max_side=50).bytes).mode == "L"


def test_the_same_bytes_for_any_number_of_workers(tmp_path: Path, paths: list[Path]) -> None:
    def fn(path: str) -> Any:
        return {"image": ms.Jpeg(path, quality=80, max_side=160)}

    inputs = [str(path) for path in paths]
    for name, count in (("a", 0), ("b", 2)):
        ms.optimize(fn, inputs, tmp_path / name, num_workers=count, verbose=False)
    assert tree(tmp_path / "a") == tree(tmp_path / "b")
    assert max(ms.StreamingDataset(tmp_path / "a")[3]["image"].size) == 160


def test_what_cannot_be_encoded_is_named_and_can_be_skipped(
    tmp_path: Path, paths: list[Path]
) -> None:
    cut, text = tmp_path / "cut.jpg", tmp_path / "text.jpg"
    cut.write_bytes(paths[0].read_bytes()[:2_000])
    text.write_bytes(b"no image")
    for path, words in ((cut, "cut.jpg is not a readable image"), (text, "text.jpg is neither")):
        with pytest.raises(errors.SampleError, match=words):
            ms.Jpeg(path, quality=80)
    with pytest.raises(errors.SampleError, match="more than 8 bits"):
        ms.Jpeg(array=np.zeros((4, 4), np.uint16))
    report = ms.optimize(
        lambda path: ms.Jpeg(path, quality=80), [str(cut), str(paths[0])], tmp_path / "d",
        num_workers=0, verbose=False, on_error="skip",
    )  # fmt: skip
    assert (report.samples, [some.input for some in report.skipped]) == (1, [0])


@pytest.mark.parametrize(
    "knobs", [{"quality": 0}, {"quality": 101}, {"quality": 9.5}, {"max_side": 0}]
)
def test_knobs_that_make_no_sense(paths: list[Path], knobs: Any) -> None:
    with pytest.raises(errors.UsageError, match=next(iter(knobs))):
        ms.Jpeg(paths[0], **knobs)
