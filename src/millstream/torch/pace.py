"""How many steps a worker makes at a time: more where they take less than a message does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from millstream.reading.steps import Failed, Made, Steps

# A message and the two wakings that it takes cost some 0.3 ms, of both processes together.
TURN_SECONDS = 0.002
MOST_STEPS = 16


@dataclass(slots=True)
class Pace:
    """Turns get longer while they take little time, and shorter when they take much more.

    most: steps of a turn.
    """

    most: int
    count: int = 1

    def turns(self, epoch: int, start: int, steps: range) -> Iterator[Steps]:
        """All steps, in turns that are as long as seems right when they are asked for."""
        first = steps.start
        while first < steps.stop:
            count = min(self.count, steps.stop - first)
            yield Steps(epoch=epoch, start=start, first=first, count=count)
            first += count

    def saw(self, turn: Sequence[Made | Failed]) -> None:
        """What a worker has made of a turn."""
        made = [some.stages for some in turn if isinstance(some, Made)]
        each = sum(stages.made - stages.begun for stages in made) / len(made)
        if 2 * self.count * each <= TURN_SECONDS:
            self.count = min(2 * self.count, self.most)
        elif self.count * each > 4 * TURN_SECONDS:
            self.count = max(1, self.count // 2)
