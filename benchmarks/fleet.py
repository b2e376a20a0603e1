"""Workers of many machines that do nothing: an executor for cluster_scale.py."""

from __future__ import annotations

import heapq
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

from blake3 import blake3

from millstream.execution.pickling import pickled
from millstream.execution.protocol import Outcome
from millstream.writing.placed import ChunkRecord, Placed
from millstream.writing.segment_reading import Outline
from millstream.writing.segments import ID_BYTES, RANGE_BYTES
from millstream.writing.work import AssembleTask, EncodeTask
from simulated_bucket import SimulatedBucket, Timed

SIGMA = 0.2  # of the logarithm of how long a task takes
CHUNK_PART = 0.05  # how long a chunk takes, as a part of that


class Fleet:
    """workers: so many at once. outlines: what they hand back, by how many inputs a task has.

    calls: to the store, as Work would make them, by kind; spent: on being the machines.
    """

    apart: ClassVar[bool] = True

    def __init__(
        self, workers: int, outlines: Mapping[int, bytes], bucket: SimulatedBucket
    ) -> None:
        self.workers, self._outlines, self._bucket = workers, outlines, bucket
        self._parts = {count: _Sizes(outline) for count, outline in outlines.items()}
        self._largest = max(outlines)
        self._random = random.Random(7)
        self._ends: list[tuple[float, int, Any]] = []
        self._now = self._busy = 0.0
        self.tasks = 0
        self.calls: Counter[str] = Counter()
        self.spent = Timed()
        self.opened_at = self.closed_at = 0.0

    @contextmanager
    def open(self, work: Callable[[Any], Any]) -> Iterator[Fleet]:
        self.opened_at = time.perf_counter()
        yield self
        self.closed_at = time.perf_counter()

    @property
    def free(self) -> int:
        return self.workers - len(self._ends)

    def submit(self, tag: int, task: Any) -> None:
        pickled(task, "a task")  # as is done for a real worker
        with self.spent:
            encodes = isinstance(task, EncodeTask)
            took = self._random.lognormvariate(0, SIGMA) * (1 if encodes else CHUNK_PART)
            self._busy += took
            heapq.heappush(self._ends, (self._now + took, tag, task))

    def wait(self) -> Outcome[Any]:
        with self.spent:
            self._now, tag, task = heapq.heappop(self._ends)
            made = self._encoded(task) if isinstance(task, EncodeTask) else self._built(task)
            return Outcome(tag=tag, value=made)

    def idle_share(self) -> float:
        """How much of the workers' time none of them had anything to do."""
        return 1 - self._busy / (self.workers * self._now) if self._now else 0.0

    def _encoded(self, task: EncodeTask) -> bytes:
        self.tasks += 1
        self.calls.update(["put a segment", "put an outline"])
        self._bucket.made(task.number)
        # A copy, as of each answer that comes over the network.
        return bytes(bytearray(self._outlines[len(task.inputs)]))

    def _built(self, task: AssembleTask) -> Placed:
        sizes = self._parts[self._largest]
        self.calls.update(["put a record", "put a chunk"])
        self.calls["get an outline"] += len({number for number, *_ in task.pieces})
        ranges = sum(sizes.ranges[part] for _, part, _, _ in task.pieces)
        self.calls["get a range of rows"] += ranges
        rows = sum(stop - start for _, _, start, stop in task.pieces)
        chunk = ChunkRecord(
            digest=blake3(b"%d" % task.identity.sequence).hexdigest(),
            size=int(rows * sizes.mean),
            rows=rows,
            lead=100_000,
            shapes=((), None),
        )
        placed = Placed(chunk=chunk, start=task.start, stop=task.stop, skipped=task.skipped)
        self._bucket.record(task.identity.sequence, placed.to_bytes())
        return placed


class _Sizes:
    """ranges: how many requests the rows of each part take. mean: bytes of a row."""

    def __init__(self, outline: bytes) -> None:
        opened = Outline("000000", outline[ID_BYTES:])
        segment = opened.segment()
        spans = opened.spans(range(len(segment.parts)))
        self.ranges = [-(-(stop - start) // RANGE_BYTES) for start, stop in spans]
        self.mean = segment.nbytes / sum(part.rows for part in segment.parts)
