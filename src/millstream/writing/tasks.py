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
    most = MAX_INPUTS
    if weights is None:
        most = min(max(1, -(-inputs // MAX_TASKS)), MAX_INPUTS)
    for number, (start, stop, _) in enumerate(portions(inputs, weights, most, MAX_TASKS)):
        yield Task(number, start, stop)


def portions(
    inputs: int, weights: Sequence[float] | None, most: int, wanted: int
) -> Iterator[tuple[int, int, float]]:
    """Runs of inputs: where each starts and stops, and what it weighs; 0 without weights.

    Of `most` inputs each. With weights one ends sooner: with the input that makes it weigh as much
    as each of `wanted` equal ones would.
    """
    if weights is None:
        for start in range(0, inputs, most):
            yield start, min(start + most, inputs), 0.0
        return
    each, start, weight = sum(weights) / wanted, 0, 0.0
    for index, one in enumerate(weights, 1):
        weight += one
        if weight >= each or index - start == most or index == len(weights):
            yield start, index, weight
            start, weight = index, 0.0
