"""JpegDecode: the pixels that Pillow alone would give, with or without simplejpeg."""

from __future__ import annotations

import io
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import CODECS, by_pillow, encoded, psnr, scene
from PIL import Image

from millstream import JpegDecode
from millstream.errors import CorruptData, UnsupportedError, UsageError
from millstream.reading import images
from millstream.reading.crops import DRAWS, center_crop, random_resized_crop
from millstream.reading.images import pixels_as_stored
from millstream.reading.jpeg import ImageDecoder

STILL = np.zeros(DRAWS)


def decode(content: bytes, draws: Any = STILL, codec: str = "jpeg", **options: Any) -> np.ndarray:
    decoder = ImageDecoder(settings=JpegDecode(**options), codec=CODECS[codec])
    return decoder.decode(memoryview(content), draws)


def hwc(array: np.ndarray) -> np.ndarray:
    return np.moveaxis(array, 0, -1)


@pytest.fixture(params=["simplejpeg", "Pillow alone"])
def decoders(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test that asks for this runs with simplejpeg, and as if that were not installed."""
    if request.param == "Pillow alone":
        monkeypatch.setattr(images, "_turbo", lambda: None)


@settings(max_examples=60)
@given(
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
    st.tuples(st.integers(1, 60), st.integers(1, 60)),
    st.integers(0, 1000),
    st.sampled_from(["RGB", "L"]),
    st.sampled_from(["bilinear", "bicubic", "lanczos", "hamming", "box", "nearest"]),
    st.sampled_from(["chw", "hwc"]),
)
def test_pixels_are_those_of_pillow(image_size, size, seed, mode, resample, layout) -> None:
    content = encoded(scene(*image_size), quality=90)
    draws = np.random.default_rng(seed).random(DRAWS)
    options = {"mode": mode, "resample": resample, "layout": layout}
    found = decode(
        content, draws, size=size, crop="random_resized", flip=True, scale_hint=False, **options
    )
    box = random_resized_crop(*image_size, (0.08, 1.0), (3 / 4, 4 / 3), draws)
    expected = by_pillow(
        content,
        box,
        size,
        mode=mode,
        flip=draws[0] < 0.5,
        resample=Image.Resampling[resample.upper()],
        prepare=lambda image: image.draft(mode, image.size),
    )
    assert found.dtype == np.uint8
    assert np.array_equal(found if layout == "hwc" else hwc(found), expected)


@pytest.mark.parametrize("subsampling", [0, 1, 2, "4:1:1"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 3}])
@pytest.mark.parametrize("size", [(331, 217), (16, 16), (1, 97), (97, 1)])
def test_simplejpeg_and_pillow_decode_alike(subsampling, options, size) -> None:
    picture = scene(*size)
    for image in (picture, picture.convert("L")):
        kind = {} if image.mode == "L" else {"subsampling": subsampling}
        content = memoryview(encoded(image, quality=80, **kind, **options))
        opened = images.open_field(content, CODECS["jpeg"])
        assert opened.image is None
        for mode in ("RGB", "L"):
            for by in (1, 2, 4, 8) if min(size) > 8 else (1,):
                pillow = images._pillow_pixels(CODECS["jpeg"].decode(content), mode, by)
                assert np.array_equal(opened.pixels(mode, by), pillow)
        stored = pixels_as_stored(content, CODECS["jpeg"])
        assert np.array_equal(stored, np.array(Image.open(io.BytesIO(content))))
        assert stored.flags.writeable


def test_what_is_decoded_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    real = simplejpeg.decode_jpeg

    def decode_jpeg(*args: Any, **options: Any) -> np.ndarray:
        found = real(*args, **options)
        asked.append(found.shape[:2])
        return found

    monkeypatch.setattr(simplejpeg, "decode_jpeg", decode_jpeg)
    content = encoded(scene(1003, 601), quality=95)
    full = {}
    for size, hint in ((301, True), (300, True), (150, True), (76, True), (75, True), (75, False)):
        full[size, hint] = decode(content, size=size, crop="center", scale_hint=hint)
    assert asked == [(601, 1003), (301, 502), (151, 251), (151, 251), (76, 126), (601, 1003)]
    assert psnr(full[75, True], full[75, False]) > 38


def test_torch_resizes_almost_alike() -> None:
    content = encoded(scene(500, 375), quality=90)
    for seed in range(20):
        draws = np.random.default_rng(seed).random(DRAWS)
        for more in ({}, {"resample": "bicubic"}, {"mode": "L"}, {"layout": "hwc"}):
            options = {"size": (224, 200), "crop": "random_resized", "flip": True, **more}
            pillow = decode(content, draws, **options)
            torch = decode(content, draws, backend="torch", **options)
            assert np.abs(pillow.astype(int) - torch).max() <= 2
            assert psnr(pillow, torch) > 50


def test_a_middle_is_that_of_resizing_and_then_cutting(decoders: None) -> None:
    content = encoded(scene(500, 375), quality=95)
    found = decode(content, size=224, crop="center", shorter_side=256)
    box = center_crop(500, 375, (224, 224), 256)
    assert np.array_equal(hwc(found), by_pillow(content, box, (224, 224)))
    image = Image.open(io.BytesIO(content)).resize((341, 256), Image.Resampling.BILINEAR)
    usual = np.asarray(image.crop((58, 16, 58 + 224, 16 + 224)))
    assert psnr(hwc(found), usual) > 30  # within half a pixel


def test_without_a_size_an_image_is_as_large_as_it_is(decoders: None) -> None:
    content = encoded(scene(31, 17))
    assert np.array_equal(decode(content, layout="hwc"), by_pillow(content, None, None))
    mirrored = decode(content, flip=1.0)
    assert np.array_equal(hwc(mirrored), by_pillow(content, None, None, flip=True))
    assert decode(content, size=(5, 9)).shape == (3, 5, 9)


def test_what_is_not_a_colour_jpeg(decoders: None) -> None:
    picture = scene(60, 40)
    for content, codec in (
        (encoded(picture.convert("L")), "jpeg"),
        (encoded(picture.convert("CMYK"), quality=95), "jpeg"),
        (encoded(picture, "PNG"), "png"),
        (encoded(picture.convert("RGBA"), "PNG"), "png"),
        (encoded(picture.convert("P"), "PNG"), "png"),
        (encoded(picture), "bytes"),
        (encoded(picture, "PNG"), "bytes"),
    ):
        for mode in ("RGB", "L"):
            found = decode(content, codec=codec, size=20, mode=mode, scale_hint=False)
            expected = by_pillow(
                content,
                None,
                (20, 20),
                mode=mode,
                prepare=lambda image, mode=mode: (
                    image.draft(mode, image.size) if image.mode == "RGB" else None
                ),
            )
            assert np.array_equal(hwc(found), expected)
    pil = CODECS["pil"].encode(picture)
    assert np.array_equal(decode(pil, codec="pil", layout="hwc"), np.asarray(picture))
    cmyk = encoded(picture.convert("CMYK"), quality=95)
    assert psnr(decode(cmyk, layout="hwc"), np.asarray(picture)) > 25


def test_orientation_is_left_as_it_is(decoders: None) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encoded(scene(60, 40), exif=exif)
    assert decode(content).shape == (3, 40, 60)


def test_what_would_lose_bits_is_refused() -> None:
    deep = Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30))
    with pytest.raises(UnsupportedError, match="8 bits"):
        decode(encoded(deep, "PNG"), codec="png", size=8)
    with pytest.raises(UnsupportedError, match="0 x 5"):
        decode(CODECS["pil"].encode(Image.new("RGB", (0, 5))), codec="pil", size=2)
    with pytest.raises(UnsupportedError, match="mode La"):
        decode(CODECS["pil"].encode(Image.new("La", (4, 4))), codec="pil", size=2)


def damages() -> dict[str, bytes]:
    content = encoded(scene(200, 150), quality=90)
    return {
        "cut in the middle": content[: len(content) // 2],
        "cut at the end": content[:-2],
        "only a head": content[:300],
        "nothing": b"",
        "text": b"not an image at all",
        "a PNG in a JPEG field": encoded(scene(5, 5), "PNG"),
    }


@pytest.mark.parametrize("damage", list(damages()))
@pytest.mark.parametrize("as_array", [False, True])
def test_bad_files_are_errors_and_not_grey(damage: str, as_array: bool, decoders: None) -> None:
    content = damages()[damage]
    with pytest.raises(CorruptData, match="not a readable JPEG"):
        if as_array:
            pixels_as_stored(memoryview(content), CODECS["jpeg"])
        else:
            decode(content, size=50)


@settings(max_examples=150)
@given(st.sampled_from(["jpeg", "png", "pil"]), st.data())
def test_hostile_bytes_are_errors_or_images(kind: str, data: st.DataObject) -> None:
    picture = scene(30, 20)
    content = bytearray(
        CODECS["pil"].encode(picture) if kind == "pil" else encoded(picture, kind.upper())
    )
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, min(len(content) - 1, 700)))] = data.draw(
            st.integers(0, 255)
        )
    content = content[: data.draw(st.integers(0, len(content)))]
    with suppress(CorruptData, UnsupportedError):
        assert decode(bytes(content), codec=kind, size=8, crop="center").shape == (3, 8, 8)


def test_what_pillow_reads_is_read(decoders: None) -> None:
    content = encoded(scene(60, 40))
    odd = content[:20] + b"\0\0" + content[20:]  # libjpeg warns of it, as of some of ImageNet's
    with pytest.raises(ValueError, match="extraneous"):
        simplejpeg.decode_jpeg(odd)
    assert np.array_equal(decode(odd), decode(content))


def test_the_limit_of_pixels_is_pillows(decoders: None, monkeypatch: pytest.MonkeyPatch) -> None:
    content = encoded(scene(60, 40))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1199)
    with pytest.raises(CorruptData, match="exceeds limit"):
        decode(content, size=8)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1200)
    with pytest.warns(Image.DecompressionBombWarning):
        decode(content, size=8)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    decode(content, size=8)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": 0}, "size is 0"),
        ({"size": (1, 2, 3)}, "size"),
        ({"size": 2.5}, "size"),
        ({"crop": "center"}, "needs a size"),
        ({"size": 2, "crop": "middle"}, "crop is 'middle'"),
        ({"size": 2, "scale": (0, 1)}, "scale"),
        ({"size": 2, "scale": (0.5, 0.4)}, "scale"),
        ({"size": 2, "ratio": (0, 1)}, "ratio"),
        ({"flip": 1.5}, "flip"),
        ({"flip": "yes"}, "flip"),
        ({"layout": "nchw"}, "layout"),
        ({"mode": "BGR"}, "mode"),
        ({"resample": "cubic"}, "resample"),
        ({"backend": "opencv"}, "backend"),
        ({"backend": "torch", "resample": "lanczos"}, "backend is 'torch'"),
        ({"size": 9, "crop": "center", "shorter_side": 8}, "shorter_side"),
        ({"size": 9, "shorter_side": 9}, "shorter_side is for"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        JpegDecode(**options)
