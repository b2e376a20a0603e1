"""What makes batches sooner: this process, worker processes, or threads.

Three pipelines: columns (256 small samples a batch), images (64 JPEG photographs decoded and
cropped by JpegDecode), Python (a transform that computes in Python, 64 samples a batch). Whole
epochs, with the start of the workers, in turns; medians over the rounds, with the least and most.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

import millstream as ms

sys.path.append(str(Path(__file__).parents[1] / "examples"))
from photos import make_photos

CREWS: dict[str, dict[str, Any]] = {
    "none": {"num_workers": 0},
    "2 processes": {"num_workers": 2},
    "2 threads": {"num_workers": 2, "workers": "threads"},
}


def digits(sample: dict[str, Any]) -> dict[str, Any]:
    """Half a millisecond of Python."""
    total = sum(int(digit) for number in range(2_000) for digit in str(number + sample["id"])[-1])
    return {"id": sample["id"], "total": total}


def pipelines(place: Path, images: int) -> dict[str, tuple[ms.StreamingDataset, int]]:
    """Datasets, and their batch sizes."""
    rows = np.arange(1_000_000)
    ms.optimize(
        lambda part: {"id": rows[part], "v": np.zeros((len(rows[part]), 16), np.float32)},
        [slice(start, start + 50_000) for start in range(0, len(rows), 50_000)],
        place / "columns", batched=True, num_workers=0, verbose=False,
    )  # fmt: skip
    ms.optimize(lambda i: {"id": i}, range(4_000), place / "python", num_workers=0, verbose=False)
    photos = make_photos(place / "photos", images)
    ms.optimize(
        lambda path: {"image": ms.Jpeg(path=path)}, [str(path) for path in photos],
        place / "images", num_workers=0, verbose=False,
    )  # fmt: skip
    decode = {"image": ms.JpegDecode(size=224, crop="random_resized", flip=True)}
    return {
        "columns": (ms.StreamingDataset(place / "columns", shuffle=True), 256),
        "images": (ms.StreamingDataset(place / "images", shuffle=True, decode=decode), 64),
        "Python": (ms.StreamingDataset(place / "python", shuffle=True, transform=digits), 64),
    }


def cpu_seconds() -> float:
    """Of this process and the workers that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(some.ru_utime + some.ru_stime for some in used)


def trial(dataset: ms.StreamingDataset, batch_size: int, crew: dict[str, Any]) -> tuple[float, ...]:
    """Samples a second, and CPU microseconds a sample."""
    began, spent = time.perf_counter(), cpu_seconds()
    for _ in ms.StreamingDataLoader(dataset, batch_size=batch_size, **crew):
        pass
    rate = len(dataset) / (time.perf_counter() - began)
    return rate, 1e6 * (cpu_seconds() - spent) / len(dataset)


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=1_000)
    arguments = parser.parse_args()
    found: dict[tuple[str, str], list[tuple[float, ...]]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as place:
        made = pipelines(Path(place), arguments.images)
        for _ in range(arguments.rounds):
            for what, (dataset, batch_size) in made.items():
                for name, crew in CREWS.items():
                    found[what, name].append(trial(dataset, batch_size, crew))
    print("| pipeline | workers | samples a second (least to most) | CPU us a sample |")
    print("|---|---|---|---|")
    for (what, name), trials in found.items():
        rates = [rate for rate, _ in trials]
        cpu = statistics.median(each for _, each in trials)
        told = f"{statistics.median(rates):,.0f} ({min(rates):,.0f} to {max(rates):,.0f})"
        print(f"| {what} | {name} | {told} | {cpu:,.1f} |")


if __name__ == "__main__":
    main()
