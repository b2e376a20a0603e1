"""W2 to W6: epochs of a loader, for some seconds, with every sample accounted for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import data
from peers import Skip
from peers.augment import SIZE
from trials.meter import Meter
from trials.trial import Trial

IMAGE_BATCH, SMALL_BATCH, TOKEN_BATCH = 64, 256, 8
HEAD = 8  # tokens, which say where a block is from

Ids = npt.NDArray[Any]
Take = Callable[[Any], Ids]


@dataclass(slots=True, kw_only=True)
class Epoch:
    """What came of one epoch. Times are those of a clock; first: when the first batch was there."""

    began: float
    first: float = 0.0
    ended: float = 0.0
    whole: bool = False
    taken: list[Ids] = field(default_factory=list)

    @property
    def count(self) -> int:
        return sum(map(len, self.taken))


class Wrong(Exception):
    """Samples were lost, doubled or changed."""


def stream(
    open_loader: Callable[[], Iterable[Any]], take: Take, seconds: float | None
) -> tuple[dict[str, Any], list[Epoch]]:
    """Epochs until the time is over, the last may be cut; without a time, one whole epoch.

    The time counts from the first batch. `take` gives one row a sample. Returns figures, and what
    came of each epoch.
    """
    clock = time.perf_counter
    limit = float("inf") if seconds is None else seconds
    epochs: list[Epoch] = []
    with Meter() as meter:
        began = clock()
        loader = open_loader()
        opened = clock()
        while not epochs or (seconds and epochs[-1].whole and clock() - epochs[0].first < limit):
            epochs.append(epoch := Epoch(began=clock()))
            for batch in loader:
                epoch.taken.append(take(batch))
                epoch.ended = clock()
                epoch.first = epoch.first or epoch.ended
                if epoch.ended - epochs[0].first > limit:
                    break
            else:
                epoch.whole = True
    later = [epoch for epoch in epochs[1:] if epoch.whole]
    figures = {
        **meter.figures(sum(epoch.count for epoch in epochs)),
        "open_seconds": opened - began,
        "first_batch_seconds": epochs[0].first - epochs[0].began,
        "rate": rate(epochs),
        "later_rate": rate(later) if later else None,
    }
    return figures, epochs


def rate(epochs: list[Epoch]) -> float:
    """Samples a second, from the moment when each epoch was asked for.

    Not from its first batch on: what is made ahead of that would count, but not its time.
    """
    seconds = sum(epoch.ended - epoch.began for epoch in epochs)
    return sum(epoch.count for epoch in epochs) / seconds


# What is taken of a batch while the clock runs -------------------------------------------------


def image_ids(sizes: Ids) -> Take:
    """Labels, after a look at how long the files are."""

    def take(batch: Any) -> Ids:
        labels = np.array(batch["label"])
        if sum(map(len, batch["image"])) != sizes[labels].sum():
            raise Wrong("the images of a batch are not as long as the files of their labels")
        return labels

    return take


def pixel_ids(batch: Any) -> Ids:
    images = batch["image"]
    if tuple(images.shape[1:]) != (3, SIZE, SIZE) or "uint8" not in str(images.dtype):
        raise Wrong(f"images of {images.dtype} {tuple(images.shape)}")
    return np.array(batch["label"])


def small_ids(batch: Any) -> Ids:
    return np.array(batch["id"])


def token_heads(batch: Any) -> Ids:
    """The first tokens of each block."""
    if batch.shape[1] != data.BLOCK:
        raise Wrong(f"blocks of {batch.shape[1]} tokens")
    return np.array(batch[:, :HEAD])


# What is checked afterwards --------------------------------------------------------------------


def check_ids(epochs: list[Epoch], count: int) -> dict[str, Any]:
    """A whole epoch has every number once, a part of one none twice."""
    for epoch in epochs:
        ids = np.sort(np.concatenate(epoch.taken))
        if epoch.whole and not np.array_equal(ids, np.arange(count)):
            lost = count - len(np.unique(ids))
            raise Wrong(f"an epoch of {len(ids)} samples: {lost} of {count} are lost")
        if len(ids) > 1 and (ids[1:] == ids[:-1]).any():
            raise Wrong("samples came twice in an epoch")
    return {"whole_epochs": sum(epoch.whole for epoch in epochs), "checked": "every id"}


def check_blocks(epochs: list[Epoch], count: int) -> dict[str, Any]:
    """Blocks do not overlap. left_out: tokens of an epoch that were in no block.

    Documents may have been stored in any order: a block may go on in any other.
    """
    left_out = None
    for epoch in epochs:
        starts = np.sort(data.token_positions(np.concatenate(epoch.taken)))
        to_the_end = data.DOCUMENT - starts % data.DOCUMENT
        if (np.diff(starts) < np.minimum(data.BLOCK, to_the_end)[:-1]).any():
            raise Wrong("tokens came twice in an epoch")
        if starts[0] < 0 or starts[-1] >= count:
            raise Wrong("a block is not of this data")
        if epoch.whole:
            left_out = count - len(starts) * data.BLOCK
    return {
        "whole_epochs": sum(epoch.whole for epoch in epochs),
        "left_out": left_out,
        "checked": "every block",
    }


# The workloads ---------------------------------------------------------------------------------


def images(trial: Trial) -> dict[str, Any]:
    warm(trial.place)
    sizes = _sizes(trial)
    found, epochs = stream(
        lambda: trial.method(trial.place, IMAGE_BATCH, trial.workers),
        image_ids(sizes),
        trial.scale.seconds,
    )
    return {**found, **check_ids(epochs, len(sizes))}


def pixels(trial: Trial) -> dict[str, Any]:
    warm(trial.place)
    looked_at: list[Any] = []

    def take(batch: Any) -> Ids:
        if not looked_at:
            looked_at.append(np.array(batch["image"]))
        return pixel_ids(batch)

    found, epochs = stream(
        lambda: trial.method(trial.place, IMAGE_BATCH, trial.workers), take, trial.scale.seconds
    )
    if looked_at[0].std() < 10:
        raise Wrong("the images are empty")
    return {**found, **check_ids(epochs, trial.scale.images)}


def tokens(trial: Trial) -> dict[str, Any]:
    warm(trial.place)
    found, epochs = stream(
        lambda: trial.method(trial.place, data.BLOCK, TOKEN_BATCH, trial.workers),
        token_heads,
        trial.scale.seconds,
    )
    checked = check_blocks(epochs, trial.scale.tokens)
    found["rate"] *= data.BLOCK
    found["later_rate"] = found["later_rate"] and found["later_rate"] * data.BLOCK
    return {**found, "cpu_us": found["cpu_us"] / data.BLOCK, **checked}


def small(trial: Trial) -> dict[str, Any]:
    warm(trial.place)
    found, epochs = stream(
        lambda: trial.method(trial.place, SMALL_BATCH, trial.workers),
        small_ids,
        trial.scale.seconds,
    )
    return {**found, **check_ids(epochs, trial.scale.small)}


def remote_cold(trial: Trial) -> dict[str, Any]:
    """One epoch into an empty cache; its rate has the opening and the first batch in it."""
    found = _remote(trial, seconds=None)
    seconds = found["open_seconds"] + trial.scale.images / found["rate"]
    return {**found, "rate": trial.scale.images / seconds}


def remote_cached(trial: Trial) -> dict[str, Any]:
    """Epochs from the cache that a cold one has left."""
    if trial.cache is None or not trial.cache.exists():
        raise Skip("it has no cache")
    return _remote(trial, seconds=trial.scale.seconds)


def _remote(trial: Trial, seconds: float | None) -> dict[str, Any]:
    sizes = _sizes(trial)
    place = trial.bucket, trial.prefix, trial.cache

    def open_loader() -> Iterable[Any]:
        return trial.method(*place, IMAGE_BATCH, trial.workers)

    found, epochs = stream(open_loader, image_ids(sizes), seconds)
    return {**found, **check_ids(epochs, len(sizes))}


def _sizes(trial: Trial) -> Ids:
    return np.array([photo.size for photo in data.photos(trial.scale.images)])


def warm(place: Path) -> None:
    """Reads all files, into the page cache."""
    for path in place.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                while file.read(1 << 22):
                    pass
