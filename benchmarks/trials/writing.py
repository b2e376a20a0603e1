"""W1, W5w, W6w: a dataset is written, from the call to its return."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import data
from trials.meter import Meter
from trials.trial import Trial

RESUME_CHUNK_BYTES = 50_000


def images(trial: Trial) -> dict[str, Any]:
    photos = data.photos(trial.scale.images)
    for photo in photos:
        Path(photo.path).read_bytes()  # into the page cache
    return _written(trial, len(photos), lambda: trial.method(photos, trial.place, trial.workers))


def tokens(trial: Trial) -> dict[str, Any]:
    count = trial.scale.tokens
    file = data.token_file(count)
    file.read_bytes()  # into the page cache
    return _written(trial, count, lambda: trial.method(file, count, trial.place, trial.workers))


def small(trial: Trial) -> dict[str, Any]:
    count = trial.scale.small
    return _written(
        trial, count, lambda: trial.method(count, trial.place, trial.workers, data.CHUNK_BYTES)
    )


def small_columns(trial: Trial) -> dict[str, Any]:
    count = trial.scale.small
    return _written(trial, count, lambda: trial.method(count, trial.place, trial.workers))


def many_chunks(trial: Trial) -> dict[str, Any]:
    """Small samples in small chunks, for W9."""
    count = trial.scale.resumed
    return _written(
        trial, count, lambda: trial.method(count, trial.place, trial.workers, RESUME_CHUNK_BYTES)
    )


def _written(trial: Trial, count: int, write: Callable[[], None]) -> dict[str, Any]:
    """Where the last repetition lay, again; the disk is not waited for."""
    shutil.rmtree(trial.place, ignore_errors=True)
    trial.place.parent.mkdir(parents=True, exist_ok=True)
    os.sync()
    with Meter() as meter:
        write()
    files = [path for path in trial.place.rglob("*") if path.is_file()]
    return {
        **meter.figures(count),
        "rate": count / meter.wall,
        "bytes": sum(path.stat().st_size for path in files),
        "files": len(files),
    }
