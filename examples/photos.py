"""Some thousands of distinct JPEG files, cut from real photographs that two packages carry.

scikit-image and scikit-learn ship a few photographs inside their wheels, so this needs no
network. Each file is a crop of one of them, perhaps mirrored, with other colours: what a camera
might have taken, never noise, so sizes and decoding times are those of photographs.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from random import Random

from PIL import Image

QUALITY = 90
MAX_ENLARGEMENT = 1.15
RECIPE = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Photo:
    """Where a photograph lies, and which part of it is worth showing (a box in pixels)."""

    name: str
    package: str
    file: str
    part: tuple[int, int, int, int] | None = None


# A photograph's place in this list is its label: append, never insert.
PHOTOS = [
    Photo(name="astronaut", package="skimage", file="data/astronaut.png"),
    Photo(name="brick", package="skimage", file="data/brick.png"),
    Photo(name="camera", package="skimage", file="data/camera.png"),
    Photo(name="cat", package="skimage", file="data/chelsea.png"),
    Photo(name="china", package="sklearn", file="datasets/images/china.jpg"),
    Photo(name="coffee", package="skimage", file="data/coffee.png"),
    Photo(name="coins", package="skimage", file="data/coins.png"),
    Photo(name="flower", package="sklearn", file="datasets/images/flower.jpg"),
    Photo(name="galaxies", package="skimage", file="data/hubble_deep_field.jpg"),
    Photo(name="grass", package="skimage", file="data/grass.png"),
    Photo(name="gravel", package="skimage", file="data/gravel.png"),
    Photo(name="moon", package="skimage", file="data/moon.png"),
    Photo(name="motorcycle", package="skimage", file="data/motorcycle_left.png"),
    # The largest square inside the round picture: no black corners.
    Photo(name="retina", package="skimage", file="data/retina.jpg", part=(215, 215, 1195, 1195)),
    Photo(name="rocket", package="skimage", file="data/rocket.jpg"),
    Photo(name="tissue", package="skimage", file="data/ihc.png"),
]


def make_photos(folder: Path, count: int, *, seed: int = 0) -> list[Path]:
    """Writes `count` JPEG files, as many of each photograph; returns their sorted paths.

    A file is `folder/03_cat/000123.jpg`: label and name of the photograph, number of the file.
    Called again with the same arguments it only makes what is missing; a folder that was made
    with others raises FileExistsError. A photograph that is not installed is left out.
    """
    photos = dict(installed())
    if not photos:
        raise FileNotFoundError("no photographs: pip install scikit-image scikit-learn")
    _claim(folder, {"recipe": RECIPE, "seed": seed, "count": count, "labels": list(photos)})
    labels = list(photos)
    wanted: dict[Path, tuple[int, int]] = {}
    for number in range(count):
        label = labels[number % len(labels)]
        path = folder / f"{label:02d}_{PHOTOS[label].name}" / f"{number:06d}.jpg"
        wanted[path] = (label, number)
    missing = [path for path in wanted if not path.exists()]
    for parent in {path.parent for path in missing}:
        parent.mkdir(exist_ok=True)
    # Threads suffice: Pillow crops, scales and encodes without the interpreter's lock.
    with ThreadPoolExecutor(2) as threads:
        make = partial(_make, photos, wanted, seed)
        for _ in threads.map(make, missing):
            pass
    return sorted(wanted)


def installed() -> Iterator[tuple[int, Image.Image]]:
    """Label and pixels of each photograph that is on this machine."""
    for label, photo in enumerate(PHOTOS):
        spec = find_spec(photo.package)
        for root in (spec and spec.submodule_search_locations) or ():
            path = Path(root, photo.file)
            if path.exists():
                with Image.open(path) as image:
                    yield label, image.convert("RGB").crop(photo.part or (0, 0, *image.size))


def _claim(folder: Path, settings: dict[str, object]) -> None:
    """Writes down what the folder is made with, or checks that it is the same."""
    folder.mkdir(parents=True, exist_ok=True)
    record = folder / "photos.json"
    if not record.exists():
        if any(folder.iterdir()):
            raise FileExistsError(f"{folder} holds something else: choose an empty folder")
        record.write_text(json.dumps(settings))
    elif (made := json.loads(record.read_text())) != settings:
        raise FileExistsError(f"{folder} was made with {made}, not {settings}: remove it")


def _make(
    photos: dict[int, Image.Image], wanted: dict[Path, tuple[int, int]], seed: int, path: Path
) -> None:
    label, number = wanted[path]
    image = vary(photos[label], Random(f"{seed} {number}"))
    unfinished = path.with_suffix(".part")
    image.save(unfinished, "JPEG", quality=QUALITY)
    unfinished.replace(path)


def vary(photo: Image.Image, random: Random) -> Image.Image:
    """A random part of a photograph in other colours, about 500x375 if it has the pixels."""
    image = _crop(photo, random)
    if random.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return _recolour(image, random)


def _crop(photo: Image.Image, random: Random) -> Image.Image:
    """Most of the photograph, or a part of it; scaled down if large, never blown up."""
    aspect = random.choice([4 / 3, 4 / 3, 4 / 3, 3 / 2, 1.0, 3 / 4])
    area = 500 * 375 * random.uniform(0.85, 1.25)
    target_width, target_height = (area * aspect) ** 0.5, (area / aspect) ** 0.5
    fit = min(photo.width / target_width, photo.height / target_height)
    scale = fit * random.uniform(0.7, 1.0)
    width, height = int(target_width * scale), int(target_height * scale)
    left, top = random.randint(0, photo.width - width), random.randint(0, photo.height - height)
    shrink = min(1.0, scale * MAX_ENLARGEMENT)
    size = round(target_width * shrink), round(target_height * shrink)
    box = (left, top, left + width, top + height)
    return photo.resize(size, Image.Resampling.BICUBIC, box=box)


def _recolour(image: Image.Image, random: Random) -> Image.Image:
    """Other light: exposure, white balance and saturation, as one matrix."""
    saturation = random.uniform(0.5, 1.35)
    exposure = random.uniform(0.8, 1.15)
    grey = [(1 - saturation) * weight for weight in (0.299, 0.587, 0.114)]
    matrix: list[float] = []
    for channel in range(3):
        gain = exposure * random.uniform(0.92, 1.08)
        row = [gain * (grey[k] + (saturation if k == channel else 0.0)) for k in range(3)]
        matrix += [*row, 0.0]
    return image.convert("RGB", tuple(matrix))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", metavar="FOLDER", type=Path)
    parser.add_argument("count", metavar="COUNT", type=int, nargs="?", default=3000)
    paths = make_photos(**vars(parser.parse_args()))
    print(f"{len(paths)} photographs, {sum(path.stat().st_size for path in paths) / 1e6:.0f} MB")
