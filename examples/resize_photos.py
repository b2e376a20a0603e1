"""A folder of photographs, made smaller: files in, files out, on all cores.

PHOTOS and OUTPUT may be folders or URLs such as s3://bucket/photos. Stop it and call it again: only
what is missing is done.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import millstream as ms


def names_of(photos: str) -> list[str]:
    """The photographs below a folder or a URL, relative to it, in order."""
    return sorted(
        f"{folder}/{name}".removeprefix(f"{photos}/")
        for folder, _, names in ms.walk(photos)
        for name in names
        if name.lower().endswith((".jpg", ".jpeg", ".png"))
    )


def main(photos: str, output: str, max_side: int = 256) -> None:
    """Resizes all, and says what came of it."""

    def resize(path: str, output_dir: str) -> None:
        small = ms.Jpeg(path, max_side=max_side, quality=90)
        # A file in a subfolder keeps its place: `path` is the input, or a local copy of it.
        relative = os.path.relpath(path, photos) if "://" not in photos else Path(path).name
        target = Path(output_dir, relative).with_suffix(".jpg")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(small.bytes or Path(path).read_bytes())

    photos = photos.rstrip("/")
    ms.map(resize, names_of(photos), output, input_dir=photos, on_error="skip")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", metavar="PHOTOS")
    parser.add_argument("output", metavar="OUTPUT")
    parser.add_argument("max_side", metavar="MAX_SIDE", type=int, nargs="?", default=256)
    main(**vars(parser.parse_args()))
