"""Inputs -> tasks: short runs of consecutive inputs, fixed by their number alone."""

from __future__ import annotations

from collections.abc import Iterator
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


def tasks(inputs: int) -> Iterator[Task]:
    """The tasks of so many inputs. Where their borders lie leaves no trace in a dataset."""
    size = min(max(1, -(-inputs // MAX_TASKS)), MAX_INPUTS)
    for number, start in enumerate(range(0, inputs, size)):
        yield Task(number, start, min(start + size, inputs))
