"""W8: how long an index of many chunks takes to open, and how much memory."""

from __future__ import annotations

import resource
import shutil
import sys
from typing import Any

import psutil

from trials.meter import Meter
from trials.streaming import warm
from trials.trial import Trial


def make(trial: Trial) -> dict[str, Any]:
    """Writes the index beside the library's images, in place of what was there."""
    place = trial.place.parent / f"index-{trial.chunks}"
    shutil.rmtree(place, ignore_errors=True)
    trial.method(trial.place, place, trial.chunks)
    return {"bytes": sum(path.stat().st_size for path in place.rglob("*") if path.is_file())}


def open_it(trial: Trial) -> dict[str, Any]:
    """extra_mb: the most memory that the process had meanwhile, beyond what it had before."""
    place = trial.place.parent / f"index-{trial.chunks}"
    warm(place)
    len(trial.method(trial.place))  # what is imported at first use
    process = psutil.Process()
    before, peak_before = process.memory_info().rss / 1e6, peak_mb()
    with Meter() as meter:
        dataset = trial.method(place)
        samples = len(dataset)
    after, peak_after = process.memory_info().rss / 1e6, peak_mb()
    if peak_after > peak_before:
        after = max(after, peak_after)
    return {
        **meter.figures(1),
        "open_seconds": meter.wall,
        "extra_mb": after - before,
        "samples": samples,
    }


def peak_mb() -> float:
    """The most memory this process ever had; the kernel counts in KiB, macOS in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6
