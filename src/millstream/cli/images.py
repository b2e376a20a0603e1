"""`images`: what quality= and max_side= of Jpeg would make of some image files."""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from millstream.cli.arguments import add_command, add_json, at_least_one
from millstream.cli.show import note, plural, print_json, table
from millstream.cli.write import find_inputs
from millstream.errors import MillstreamError, UsageError
from millstream.format.codecs import Image, ImageFile, Jpeg
from millstream.format.codecs.recoding import as_eight_bits, pillow, smaller, turn_of
from millstream.reading.images import pixels_as_stored
from millstream.store import service_of
from millstream.units import size_text

if TYPE_CHECKING:
    from millstream.cli.arguments import Commands

IMAGES = """\
Encodes a few of the images anew, in memory, and says what it is worth: for each size and quality
of millstream.Jpeg(path, quality=..., max_side=...) the mean size of a file, the time that it takes
to decode one, and how far it is from the image at that size (PSNR, in dB; from about 40 on nobody
sees a difference). Nothing is written.

INPUTS is a folder, a glob in quotes, a file, or @FILE with a path a line; JPEG, PNG and TIFF files.
"""
IMAGES_END = """\
examples:
  millstream images photos
  millstream images 'photos/**/*.jpg' --max-sides 256,384 --qualities 80,90 --sample 100
  millstream images photos --json

exit codes: 0 done; 1 it failed, and says why; 2 the command makes no sense, or no file is an image.
"""
# What is said of an image that is just what it was.
_MOST_DB = 99.0
_CONTAINERS = {"JPEG": "jpeg", "PNG": "png", "TIFF": "tiff"}


def add_commands(commands: Commands) -> None:
    """Declares it."""
    images = add_command(
        commands,
        "images",
        _images,
        summary="what smaller images would cost and save",
        description=IMAGES,
        epilog=IMAGES_END,
    )
    images.add_argument("inputs", metavar="INPUTS", help="a folder, a glob, a file, or @FILE")
    images.add_argument(
        "--max-sides",
        type=_sides,
        default=_sides("256,512,all"),
        metavar="N,...",
        help="longer sides in pixels, and `all` for those there are; by default 256,512,all",
    )
    images.add_argument(
        "--qualities",
        type=_qualities,
        default=_qualities("75,85,95"),
        metavar="N,...",
        help="of JPEG, 1 to 100; by default 75,85,95",
    )
    images.add_argument(
        "--sample",
        type=at_least_one,
        default=32,
        metavar="N",
        help="so many of the files, evenly spread; by default 32",
    )
    add_json(images)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What the images come to, on average, in one way. bytes: of a file; psnr: in dB.

    max_side, quality: None for the files as they are, which have no psnr.
    """

    max_side: int | None
    quality: int | None
    bytes: float
    decode_seconds: float
    psnr: float | None


def trials(
    images: Sequence[bytes], max_sides: Sequence[int | None], qualities: Sequence[int]
) -> list[Trial]:
    """The files as they are, and then each size with each quality. images: their contents."""
    as_are = [(len(content), _decoded(content, _codec(content)), None) for content in images]
    found = [_mean(None, None, as_are)]
    for max_side in max_sides:
        exact = [_at_size(content, max_side) for content in images]
        for quality in qualities:
            pairs = zip(images, exact, strict=True)
            made = [_trial(content, pixels, max_side, quality) for content, pixels in pairs]
            found.append(_mean(max_side, quality, made))
    return found


Measured = tuple[int, float, float | None]


def _trial(content: bytes, exact: Any, max_side: int | None, quality: int) -> Measured:
    made = Jpeg(bytes=content, quality=quality, max_side=max_side).bytes or b""
    seconds = _decoded(made, ImageFile("jpeg", "JPEG"))
    difference = np.asarray(pillow().open(io.BytesIO(made)), np.float64) - exact
    error = float(np.square(difference).mean())
    return len(made), seconds, min(_MOST_DB, 10 * np.log10(255**2 / max(error, 1e-12)))


def _mean(max_side: int | None, quality: int | None, made: Sequence[Measured]) -> Trial:
    sizes, seconds, psnrs = zip(*made, strict=True)
    return Trial(
        max_side=max_side,
        quality=quality,
        bytes=float(np.mean(sizes)),
        decode_seconds=float(np.mean(seconds)),
        psnr=None if quality is None else float(np.mean(psnrs)),
    )


def _codec(content: bytes) -> ImageFile:
    container = Image(bytes=content).container
    return ImageFile(_CONTAINERS[container], container)


def _decoded(content: bytes, codec: ImageFile) -> float:
    """The CPU seconds that decoding takes, as a reader does it; the better of two times."""
    took = []
    for _ in range(2):
        began = time.process_time()
        pixels_as_stored(memoryview(content), codec)
        took.append(time.process_time() - began)
    return min(took)


def _at_size(content: bytes, max_side: int | None) -> Any:
    """All pixels of an image, upright, and made smaller by nothing but the filter."""
    image = pillow().open(io.BytesIO(content))
    turn, size = turn_of(image), smaller(image.size, max_side)
    made = as_eight_bits(image)
    made = made if size == made.size else made.resize(size, pillow().Resampling.LANCZOS)
    return np.asarray(made if turn is None else made.transpose(turn), np.float64)


def _images(args: argparse.Namespace) -> int:
    if service_of(args.inputs) is not None:
        raise UsageError("images looks at files: copy some of these to a folder first")
    paths = find_inputs(args.inputs)
    step = max(1, -(-len(paths) // args.sample))
    chosen = list(_readable(paths[::step]))
    if not chosen:
        raise UsageError(f"none of the {plural(len(paths), 'file')} is a JPEG, PNG or TIFF image")
    found = trials(chosen, args.max_sides, args.qualities)
    if args.json:
        print_json({"files": len(paths), "sample": len(chosen), "trials": [*map(asdict, found)]})
        return 0
    print(f"{len(chosen):,} of {plural(len(paths), 'file')}, on average:", end="\n\n")
    print("\n".join(_table(found)))
    return 0


def _readable(paths: Sequence[str]) -> Iterator[bytes]:
    """The contents of the files that can be decoded; a note says which of them cannot."""
    for path in paths:
        content = Path(path).read_bytes()
        try:
            _codec(content)
            Jpeg(bytes=content, quality=50, max_side=8)
        except MillstreamError as error:
            note(f"{path} is left out: {error}")
        else:
            yield content


def _table(found: Sequence[Trial]) -> list[str]:
    now = found[0]
    rows = [
        [
            "as it is" if trial.quality is None else f"{trial.max_side or 'all'}",
            f"{trial.quality or ''}",
            size_text(trial.bytes),
            f"{100 * trial.bytes / now.bytes:.0f} %",
            f"{1e3 * trial.decode_seconds:.2f} ms",
            "" if trial.psnr is None else f"{trial.psnr:.1f} dB",
        ]
        for trial in found
    ]
    titles = ["MAX SIDE", "QUALITY", "SIZE", "SHARE", "DECODING", "PSNR"]
    return table(titles, rows, right=" ".join(titles[1:]))


def _sides(text: str) -> list[int | None]:
    return [None if one == "all" else at_least_one(one) for one in text.split(",")]


def _qualities(text: str) -> list[int]:
    found = [at_least_one(one) for one in text.split(",")]
    if max(found) > 100:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of numbers from 1 to 100")
    return found
