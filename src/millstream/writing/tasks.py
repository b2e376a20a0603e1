"""Inputs -> tasks: short runs of consecutive inputs, fixed by their number alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

# Enough tasks to keep a hundred workers evenly busy, few enough that handing them out and recording
# them, most of a millisecond each, costs little beside quick work.
MAX_TASKS = 512
MAX_INPUTS = 4_096


@dataclass(frozen=True, slots=True)
class Task:
    """The inputs start to stop, the number-th run of them."""

    number: int
    start: int
    stop: int


def tasks(inputs: int, weights: Sequence[float] | None = None) -> Iterator[Task]:
    """The tasks of so many inputs. Where their borders lie leaves no trace in a dataset.

    weights: what each input costs; no task then costs more than it must, nor much less.
    """
    size = min(max(1, -(-inputs // MAX_TASKS)), MAX_INPUTS)
    if weights is not None:
        yield from _weighted(weights, sum(weights) / MAX_TASKS)
        return
    for number, start in enumerate(range(0, inputs, size)):
        yield Task(number, start, min(start + size, inputs))


def _weighted(weights: Sequence[float], each: float) -> Iterator[Task]:
    """A task ends with the input that makes it weigh as much as `each`, or has most inputs."""
    number, start, weight = 0, 0, 0.0
    for index, one in enumerate(weights, 1):
        weight += one
        if weight >= each or index - start == MAX_INPUTS or index == len(weights):
            yield Task(number, start, index)
            number, start, weight = number + 1, index, 0.0
