"""The CPU time of an image: JPEG -> random crop of 224 x 224, perhaps mirrored -> uint8 planes.

Photographs of about 500 x 375, in one process, all candidates in turns; medians over the rounds,
with the least and the most. "limit" is what cannot be left out: simplejpeg decodes, Pillow resizes.
"by Pillow" is what a Dataset does that opens, crops, resizes and mirrors with Pillow.
"""

from __future__ import annotations

import argparse
import io
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import simplejpeg
from PIL import Image

import millstream as ms
from millstream.reading.crops import DRAWS, Box, flips, random_resized_crop

sys.path.append(str(Path(__file__).parents[1] / "examples"))
from photos import make_photos

SIZE = (224, 224)
SETTINGS = {"size": SIZE, "crop": "random_resized", "flip": True}


def box_of(width: int, height: int, draws: np.ndarray) -> Box:
    """The crop that all candidates use."""
    return random_resized_crop(width, height, (0.08, 1.0), (3 / 4, 4 / 3), draws)


def crop(image: Image.Image, draws: np.ndarray) -> Image.Image:
    """That part of an image."""
    box = box_of(*image.size, draws)
    return image.crop((box.left, box.top, box.left + box.width, box.top + box.height))


def by_pillow(content: bytes, draws: np.ndarray) -> np.ndarray:
    """All of it by Pillow and numpy."""
    image = crop(Image.open(io.BytesIO(content)).convert("RGB"), draws)
    pixels = np.asarray(image.resize(SIZE, Image.Resampling.BILINEAR))
    pixels = pixels[:, ::-1] if flips(draws, 0.5) else pixels
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def candidates(folder: Path, count: int) -> dict[str, Callable[[], object]]:
    """What is measured; each handles `count` images."""
    paths = make_photos(folder / "photos", count)
    ms.optimize(Image.open, paths, folder / "data", num_workers=0, verbose=False)
    contents = [path.read_bytes() for path in paths]
    draws = np.random.default_rng(0).random((count, DRAWS))
    cut = [
        crop(Image.open(io.BytesIO(content)).convert("RGB"), row)
        for content, row in zip(contents, draws, strict=True)
    ]

    def ours(backend: str) -> Callable[[], object]:
        decode = {"value": ms.JpegDecode(**SETTINGS, backend=backend)}
        batches = ms.StreamingDataset(folder / "data", shuffle=True, decode=decode).batches(64)
        return lambda: [len(batch) for batch in batches]

    return {
        "simplejpeg decodes": lambda: [simplejpeg.decode_jpeg(content) for content in contents],
        "Pillow resizes": lambda: [image.resize(SIZE, Image.Resampling.BILINEAR) for image in cut],
        "by Pillow": lambda: list(map(by_pillow, contents, draws)),
        "JpegDecode": ours("pillow"),
        "JpegDecode, torch": ours("torch"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=7)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measured = candidates(Path(folder), asked.images)
        times: dict[str, list[float]] = {name: [] for name in measured}
        for number in range(asked.rounds + 1):
            for name, run in measured.items():
                began = time.process_time()
                run()
                if number:  # the first warms up
                    times[name].append((time.process_time() - began) / asked.images * 1e6)
    times["limit"] = [
        sum(pair) for pair in zip(times["simplejpeg decodes"], times["Pillow resizes"], strict=True)
    ]
    for name, found in times.items():
        middle = statistics.median(found)
        ratios = [limit / one for limit, one in zip(times["limit"], found, strict=True)]
        print(
            f"{name:20} {middle:6.0f} us ({min(found):.0f} to {max(found):.0f}), "
            f"{1e6 / middle:5.0f} a second and core, {statistics.median(ratios):.2f} of the limit"
        )


if __name__ == "__main__":
    main()
