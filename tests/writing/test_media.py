"""Audio, Video, Text, and images from arrays: what they are is said, never guessed from text."""

from __future__ import annotations

import io
import json
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_reader import small_dataset

import millstream as ms
from millstream import errors
from millstream.cli import main
from millstream.format.codecs.media import container_of
from millstream.writing.rows import SampleRows

# The first bytes of files as their specifications have them: the container, what takes it.
STARTS = {
    "wav": (b"RIFF\x24\0\0\0WAVEfmt ", "audio"),
    "flac": (b"fLaC\0\0\0\x22", "audio"),
    "aiff": (b"FORM\0\0\0\x2eAIFFCOMM", "audio"),
    "mp3": (b"\xff\xfb\x90\x64", "audio"),
    "aac": (b"\xff\xf1\x50\x80", "audio"),
    "m4a": (b"\0\0\0\x20ftypM4A \0\0\0\0", "audio"),
    "ogg": (b"OggS\0\x02", "both"),
    "mp4": (b"\0\0\0\x20ftypisom\0\0\2\0", "both"),
    "webm": (b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\x82\x84webm", "both"),
    "mkv": (b"\x1a\x45\xdf\xa3\xa3\x42\x86\x81\x01\x42\x82\x88matroska", "both"),
    "mov": (b"\0\0\0\x14ftypqt  \0\0\0\0", "video"),
    "avi": (b"RIFF\x24\0\0\0AVI LIST", "video"),
    "ts": ((b"G" + bytes(187)) * 2, "video"),
    "mpeg": (b"\0\0\x01\xba\x44", "video"),
    "flv": (b"FLV\x01\x05", "video"),
    "asf": (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "video"),
}
OTHERS = {
    "id3": (b"ID3\4\0\0", "mp3"),
    "old mp3": (b"\xff\xf3\x40\xc4", "mp3"),
    "rf64": (b"RF64\xff\xff\xff\xffWAVE", "wav"),
    "old mov": (b"\0\0\0\x08wide\0\0\0\0mdat", "mov"),
    "avif": (b"\0\0\0\x1cftypavif\0\0\0\0", None),
    "jpeg": (b"\xff\xd8\xff\xe0\0\x10JFIF", None),
    "text": (b"Good morning, all of you", None),
    "utf-16": (b"\xff\xfeG\0o\0", None),
    "nothing": (b"", None),
    "G": (b"Good", None),
}


def sound(n: int) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8_000)
        file.writeframes(np.full(100 + n, n, np.int16).tobytes())
    return out.getvalue()


def write(folder: Path, fn: Any, inputs: Any, **options: Any) -> Path:
    ms.optimize(fn, inputs, folder, **{"num_workers": 0, "verbose": False, **options})
    return folder


@pytest.mark.parametrize("name", STARTS)
def test_a_container_is_told_from_its_first_bytes(name: str) -> None:
    start, of = STARTS[name]
    assert container_of(start) == name
    for kind, value in (("audio", ms.Audio), ("video", ms.Video)):
        if of in (kind, "both"):
            assert value(bytes=start + bytes(500)).container == name
        else:
            with pytest.raises(errors.SampleError, match=f"looks like {name}; use File"):
                value(bytes=start + bytes(500))


@pytest.mark.parametrize("name", OTHERS)
def test_other_starts(name: str) -> None:
    start, container = OTHERS[name]
    assert container_of(start) == container
    if container is None:
        with pytest.raises(errors.SampleError, match="is like none of them"):
            ms.Audio(bytes=start)


@given(st.binary(max_size=300))
def test_any_bytes_are_told_or_refused(content: bytes) -> None:
    container = container_of(content)
    assert container is None or container in STARTS


@pytest.mark.parametrize("workers", [0, 2])
def test_sound_comes_back_as_its_bytes(
    tmp_path: Path, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    referred = []
    monkeypatch.setattr(
        SampleRows, "_may_refer", lambda self, source: referred.append(source.path) or True
    )
    paths = [tmp_path / f"{n}.wav" for n in range(10)]
    for n, path in enumerate(paths):
        path.write_bytes(sound(n))
    folder = write(
        tmp_path / "d", lambda path: {"sound": ms.Audio(path), "of": str(path)}, paths,
        num_workers=workers,
    )  # fmt: skip
    assert referred == ([str(path) for path in paths] if not workers else [])
    expected = [{"sound": sound(n), "of": str(path)} for n, path in enumerate(paths)]
    assert list(small_dataset(folder)) == expected
    dataset = ms.StreamingDataset(folder)
    assert dataset[:] == expected
    loader = ms.StreamingDataLoader(dataset, batch_size=10, num_workers=workers)
    assert next(iter(loader))["sound"] == [sound(n) for n in range(10)]
    assert next(iter(dataset.batches(10)))["sound"] == [sound(n) for n in range(10)]


def test_the_commands_show_the_container(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    clip = STARTS["mp4"][0] + bytes(90)
    folder = str(write(tmp_path / "d", lambda i: {"clip": ms.Video(bytes=clip)}, range(3)))
    assert "video[mp4]" in repr(ms.StreamingDataset(folder))
    assert main(["info", folder]) == 0
    assert ["clip", "video", "mp4"] in [
        line.split()[:3] for line in capsys.readouterr().out.splitlines()
    ]
    assert main(["get", folder, "1", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["sample"]["clip"]
    assert shown == {"kind": "video", "bytes": len(clip), "first": clip[:32].hex()}
    assert main(["get", folder, "1", "--output", str(tmp_path / "clip.mp4")]) == 0
    assert (tmp_path / "clip.mp4").read_bytes() == clip


def test_a_field_is_of_one_container(tmp_path: Path) -> None:
    starts = [STARTS["wav"][0], STARTS["flac"][0]]
    with pytest.raises(errors.SampleError, match=r"audio\[flac\].*before it audio\[wav\]"):
        write(tmp_path / "d", lambda start: ms.Audio(bytes=start), starts)


def test_text_is_text(tmp_path: Path) -> None:
    folder = write(tmp_path / "d", lambda text: (ms.Text(text), text), [__file__, "a caption"])
    assert list(small_dataset(folder)) == [(__file__, __file__), ("a caption", "a caption")]
    assert ms.StreamingDataset(folder)[1] == ("a caption", "a caption")
    both = write(tmp_path / "e", lambda i: ms.Text("x") if i % 2 else "y", range(4))
    assert ms.StreamingDataset(both)[:] == ["y", "x", "y", "x"]
    with pytest.raises(errors.SampleError):
        ms.Text(b"bytes")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("shape", "dtype", "mode"),
    [
        ((5, 7), "u1", "L"), ((5, 7, 1), "u1", "L"), ((5, 7, 2), "u1", "LA"),
        ((5, 7, 3), "u1", "RGB"), ((5, 7, 4), "u1", "RGBA"), ((5, 7), "u2", "I;16"),
        ((5, 7), ">u2", "I;16"),
    ],
)  # fmt: skip
def test_pixels_of_an_array(tmp_path: Path, shape: Any, dtype: str, mode: str) -> None:
    pixels = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    folder = write(tmp_path / "d", lambda i: {"image": ms.Image(array=pixels)}, range(2))
    image = ms.StreamingDataset(folder)[1]["image"]
    assert (image.mode, image.size) == (mode, (7, 5))
    found = ms.StreamingDataset(folder, decode={"image": "numpy"})[1]["image"]
    assert np.array_equal(found, pixels.reshape(found.shape))
    assert found.squeeze().shape == pixels.squeeze().shape


@pytest.mark.parametrize(
    "array",
    [np.zeros((2, 2), bool), np.zeros((2, 2, 5), "u1"), np.zeros((0, 2), "u1"), [[1, 2]],
     np.zeros((2, 2, 3), "f4"), np.zeros(3, "u1"), np.zeros((2, 2, 3), "u2")],
)  # fmt: skip
def test_what_are_no_pixels(array: Any) -> None:
    with pytest.raises(errors.SampleError, match="the pixels of an image are a numpy array"):
        ms.Image(array=array)


def test_one_of_path_bytes_and_array() -> None:
    pixels = np.zeros((2, 2), "u1")
    for wrong in (
        {},
        {"path": "x", "bytes": b"x"},
        {"path": "x", "array": pixels},
        {"bytes": b"", "array": pixels},
    ):
        for value in (ms.Image, ms.Jpeg):
            with pytest.raises(errors.SampleError, match="one of them"):
                value(**wrong)
    with pytest.raises(errors.SampleError, match="say bytes="):
        ms.Audio(b"RIFF")  # type: ignore[arg-type]
