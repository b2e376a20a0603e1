"""What every library gets to write: photographs, tokens, small samples; always the same."""

from __future__ import annotations

import json
import sys
import zlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt

HERE = Path(__file__).parent
OUT = HERE / "out"
CHUNK_BYTES = 64 << 20

PHOTO_QUALITY = 93
PHOTO_NOISE = (6.0, 20.0)  # what brings photographs of 500x375 to some 93 KB
MAKERS = 2

BLOCK = 2049
DOCUMENT = 1_000_000  # tokens
MARK = 0x8000


@dataclass(frozen=True, slots=True)
class Photo:
    """A JPEG file. label: its number, so that a label says which file it was."""

    path: str
    label: int
    size: int
    crc: int


def photos(count: int) -> list[Photo]:
    """JPEG files of some 93 KB in the order of their labels; made if they are not there."""
    folder = OUT / "data" / f"photos-{count}"
    record = folder / "photos.json"
    if not record.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with ProcessPoolExecutor(MAKERS) as pool:
            made = list(pool.map(partial(_photo, folder), range(count), chunksize=50))
        record.write_text(json.dumps(made))
    return [Photo(str(folder / name), *rest) for name, *rest in json.loads(record.read_text())]


def _photo(folder: Path, number: int) -> tuple[str, int, int, int]:
    """Writes one: a part of a real photograph in other light, with the noise of a sensor."""
    from PIL import Image

    originals = _originals()
    image = originals.vary(number)
    noise = np.random.default_rng([2026, number])
    grain = noise.normal(0, noise.uniform(*PHOTO_NOISE), (image.height, image.width, 1))
    pixels = np.asarray(image).astype(np.int16) + np.rint(grain).astype(np.int16)
    path = folder / f"{number // 1000:03d}" / f"{number:06d}.jpg"
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path, quality=PHOTO_QUALITY)
    content = path.read_bytes()
    return str(path.relative_to(folder)), number, len(content), zlib.crc32(content)


class _Originals:
    """The photographs that two packages carry; see examples/photos.py."""

    def __init__(self) -> None:
        sys.path.append(str(HERE.parent / "examples"))
        import photos

        self._photos = photos
        self._images = [image for _, image in photos.installed()]

    def vary(self, number: int) -> Any:
        image = self._images[number % len(self._images)]
        return self._photos.vary(image, Random(f"benchmark {number}"))


@cache
def _originals() -> _Originals:
    return _Originals()


def token_file(count: int) -> Path:
    """A flat file of uint16 tokens, in which any four in a row say where they are."""
    path = OUT / "data" / f"tokens-{count}.bin"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".part")
        with unfinished.open("wb") as file:
            for start in range(0, count, DOCUMENT):
                file.write(_tokens(start, min(DOCUMENT, count - start)).tobytes())
        unfinished.replace(path)
    return path


def _tokens(start: int, count: int) -> npt.NDArray[np.uint16]:
    """Groups of four: a marked one and the next number the group, two are like words of a text."""
    words = np.random.default_rng([2026, start])
    tokens = (words.random(count) ** 3 * (MARK - 1)).astype(np.uint16)
    group = np.arange(start, start + count, 4) // 4
    tokens[0::4] = MARK | (group & (MARK - 1))
    tokens[1::4] = (group >> 15)[: len(tokens[1::4])]
    return tokens


def token_positions(heads: npt.NDArray[np.uint16]) -> npt.NDArray[np.int64]:
    """Where runs of tokens start in the file, from their first eight tokens each."""
    offset = np.argmax(heads[:, :4] >= MARK, axis=1)
    rows = np.arange(len(heads))
    low = heads[rows, offset].astype(np.int64) & (MARK - 1)
    high = heads[rows, offset + 1].astype(np.int64)
    return 4 * (high << 15 | low) - offset


def documents(count: int) -> list[tuple[int, int]]:
    """Start and stop of each document of the token file."""
    return [(start, min(start + DOCUMENT, count)) for start in range(0, count, DOCUMENT)]


def small(number: int) -> dict[str, Any]:
    """A small sample, whose number can be told from every field."""
    return {
        "id": number,
        "x": number * 0.5,
        "v": np.arange(number, number + 16, dtype=np.float32),
    }


def small_columns(start: int, stop: int) -> dict[str, npt.NDArray[Any]]:
    """The same samples as arrays with a row each."""
    ids = np.arange(start, stop)
    return {"id": ids, "x": ids * 0.5, "v": (ids[:, None] + np.arange(16)).astype(np.float32)}


def shares(count: int, parts: int) -> Iterator[tuple[int, int]]:
    """Start and stop of equal parts of a range."""
    for part in range(parts):
        yield count * part // parts, count * (part + 1) // parts
