"""W7: one sample by its number, at random; and one that lies in a bucket."""

from __future__ import annotations

import random
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np

import data
from trials.meter import Meter
from trials.streaming import Wrong, warm
from trials.trial import Trial


def images(trial: Trial) -> dict[str, Any]:
    photos = data.photos(trial.scale.images)
    rows, samples, found = _looked_up(trial)
    for sample in samples:
        if zlib.crc32(sample["image"]) != photos[int(sample["label"])].crc:
            raise Wrong("an image is not the file of its label")
    if len({int(sample["label"]) for sample in samples}) != len(set(rows)):
        raise Wrong("one sample for several numbers")
    return found


def small(trial: Trial) -> dict[str, Any]:
    rows, samples, found = _looked_up(trial)
    for sample in samples:
        number = int(sample["id"])
        expected = data.small(number)
        right = sample["x"] == expected["x"] and np.array_equal(sample["v"], expected["v"])
        if not right:
            raise Wrong(f"sample {number} has other values")
    if len({int(sample["id"]) for sample in samples}) != len(set(rows)):
        raise Wrong("one sample for several numbers")
    return found


def _looked_up(trial: Trial) -> tuple[list[int], list[Any], dict[str, Any]]:
    """The numbers, the samples, and microseconds for one."""
    warm(trial.place)
    began = time.perf_counter()
    dataset = trial.method(trial.place)
    opened = time.perf_counter() - began
    numbers = random.Random(7)
    rows = [numbers.randrange(len(dataset)) for _ in range(trial.scale.lookups)]
    samples, seconds = [], []
    with Meter() as meter:
        for row in rows:
            began = time.perf_counter()
            sample = dataset[row]
            seconds.append(time.perf_counter() - began)
            samples.append(sample)
    microseconds = 1e6 * np.array(seconds)
    return (
        rows,
        samples,
        {
            **meter.figures(len(rows)),
            "open_seconds": opened,
            "mean_us": float(microseconds.mean()),
            "median_us": float(np.median(microseconds)),
            "p99_us": float(np.percentile(microseconds, 99)),
            "checked": "every sample",
        },
    )


def remote(trial: Trial) -> dict[str, Any]:
    """Bytes and requests are counted by who started this, at a proxy."""
    photos = data.photos(trial.scale.images)
    row = len(photos) // 2 + 7
    with Meter() as meter:
        began = time.perf_counter()
        dataset = trial.method(trial.bucket, trial.prefix, trial.cache)
        opened = time.perf_counter()
        sample = dataset[row]
        ended = time.perf_counter()
    photo = photos[int(sample["label"])]
    if zlib.crc32(sample["image"]) != photo.crc:
        raise Wrong("the image is not the file of its label")
    return {
        **meter.figures(1),
        "open_seconds": opened - began,
        "row_seconds": ended - opened,
        "row_bytes": photo.size,
        "cached_bytes": _bytes_below(trial.cache),
    }


def _bytes_below(folder: Path | None) -> int:
    if folder is None or not folder.exists():
        return 0
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
