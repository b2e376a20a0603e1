"""Not a loader: what the work itself takes, in any order, with nothing handed over."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from peers import Skip
from peers.augment import cropped, random_box
from trials.bucket import Bucket

GETS = 8
Index = npt.NDArray[np.int64]


class Driver:
    """See peers/__init__.py; the data is that of plain.py."""

    def pixels(self, place: Path, batch: int, workers: int) -> Any:
        """Decoded by simplejpeg and cropped by Pillow, an image at a time and a core each."""
        try:
            import simplejpeg  # noqa: F401
        except ImportError:
            raise Skip("simplejpeg is not installed") from None
        return _Decoding(place, batch, workers)

    def remote_images(
        self, bucket: Bucket, place: str, cache: Path, batch: int, workers: int
    ) -> Any:
        """Bare GETs of whole objects, eight at a time, cut into images."""
        return _bare_gets(bucket.obstore(place))


class _Decoding:
    """Iterable over batches in which the last image stands for all."""

    def __init__(self, place: Path, batch: int, workers: int) -> None:
        self._place = place
        self._pool = ProcessPoolExecutor(workers)
        index = np.concatenate([np.load(path) for path in sorted(place.glob("*.npy"))])
        self._batches = [index[at : at + batch] for at in range(0, len(index), batch)]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        decode = partial(_decode, self._place)
        for rows, last in zip(self._batches, self._pool.map(decode, self._batches), strict=True):
            images = np.broadcast_to(last, (len(rows), *last.shape))
            yield {"image": images, "label": rows[:, 4]}


def _decode(place: Path, rows: Index) -> npt.NDArray[np.uint8]:
    """All images of some rows; returns the last."""
    import simplejpeg

    for writer, number, start, size, _ in rows.tolist():
        with (place / f"{writer}-{number:04d}.bin").open("rb") as file:
            content = os.pread(file.fileno(), size, start)
        image = Image.fromarray(simplejpeg.decode_jpeg(content))
        pixels = cropped(image, random_box(*image.size))
    return pixels


def _bare_gets(store: Any) -> Iterator[dict[str, Any]]:
    import obstore

    def get(name: str) -> memoryview:
        return memoryview(obstore.get(store, name).bytes())

    names = [one["path"] for page in obstore.list(store) for one in page]
    tables = [np.load(io.BytesIO(get(name))) for name in names if name.endswith(".npy")]
    index = np.concatenate(tables)
    bins = [name for name in names if name.endswith(".bin")]
    with ThreadPoolExecutor(GETS) as pool:
        for name, content in zip(bins, pool.map(get, bins), strict=True):
            writer, number = map(int, Path(name).stem.split("-"))
            rows = index[(index[:, 0] == writer) & (index[:, 1] == number)]
            images = [content[start : start + size] for _, _, start, size, _ in rows.tolist()]
            yield {"image": images, "label": rows[:, 4]}
