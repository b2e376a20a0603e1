"""Where the time of batches goes: summed up, and as a trace that a browser shows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from millstream.reading.stats import TRAINER, LoaderStats, ReadStats, Stages


@dataclass(frozen=True, slots=True)
class Handed:
    """A batch that a trainer asked for and got, and when who made it was at its stages."""

    step: int
    asked: float
    got: float
    stages: Stages


@dataclass(slots=True)
class Clock:
    """Adds up over batches, what `LoaderStats` tells."""

    batches: int = 0
    seconds: float = 0.0
    waited_seconds: float = 0.0
    started_seconds: float = 0.0
    handed_over_seconds: float = 0.0
    fetch_seconds: float = 0.0
    read_seconds: float = 0.0
    decode_seconds: float = 0.0
    collate_seconds: float = 0.0
    idle_seconds: float = 0.0

    def add(
        self, stages: Stages, asked: float, got: float, since: float, *, first: bool = False
    ) -> None:
        """A batch was handed out. since: when the one before was, or the epoch began; first: of
        this iterator, so that until it was begun the trainer waited for workers to start."""
        self.batches += 1
        if first:
            self.started_seconds += max(0.0, min(stages.begun, got) - asked)
        self.seconds += got - since
        self.waited_seconds += got - asked
        self.handed_over_seconds += got - max(asked, min(stages.made, got))
        self.fetch_seconds += stages.network
        self.read_seconds += stages.read - stages.begun - stages.network
        self.decode_seconds += stages.decoded - stages.read
        self.collate_seconds += stages.made - stages.decoded
        self.idle_seconds += stages.begun - stages.free

    def stats(self, read: ReadStats) -> LoaderStats:
        """These sums, and what reading has cost."""
        return LoaderStats(**asdict(self)) + read


# When a trace begins, in microseconds: Chrome takes an event at 0 for one without a time.
FIRST = 1.0


class Trace:
    """Writes `result.json`, of so many batches after some, for Perfetto or chrome://tracing.

    It is written when the last of them was handed out, or the epoch is over, and once.
    """

    def __init__(self, folder: Path, skip: int, count: int) -> None:
        self.path = folder / "result.json"
        self._skip, self._count = skip, count
        self._seen: list[Handed] = []
        self._written = False

    def add(self, handed: Handed) -> None:
        """A batch was handed out."""
        if self._skip:
            self._skip -= 1
        elif not self._written:
            self._seen.append(handed)
            if len(self._seen) == self._count:
                self.write()

    def write(self) -> None:
        """Writes what was seen, if anything was and nothing is written yet."""
        if self._seen and not self._written:
            self._written = True
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text(json.dumps({"traceEvents": list(_events(self._seen))}))


def _events(seen: list[Handed]) -> Iterator[dict[str, Any]]:
    """Events of the trace format: times in microseconds, thread 0 is the trainer."""
    start = min(min(handed.stages.begun, handed.asked) for handed in seen)
    workers = {handed.stages.worker for handed in seen} - {TRAINER}
    names = {0: "trainer", **{worker + 1: f"worker {worker}" for worker in workers}}
    for thread, name in sorted(names.items()):
        yield {"ph": "M", "pid": 0, "tid": thread, "name": "thread_name", "args": {"name": name}}
    for handed in seen:
        for thread, name, begin, end in _spans(handed):
            if end > begin:
                yield {
                    "ph": "X",
                    "pid": 0,
                    "tid": thread,
                    "name": name,
                    "ts": FIRST + (begin - start) * 1e6,
                    "dur": (end - begin) * 1e6,
                    "args": {"step": handed.step},
                }


def _spans(handed: Handed) -> Iterator[tuple[int, str, float, float]]:
    at = handed.stages
    worker = 0 if at.worker == TRAINER else 1 + at.worker
    yield worker, "fetch", at.begun, at.begun + at.network
    yield worker, "read", at.begun + at.network, at.read
    yield worker, "decode", at.read, at.decoded
    yield worker, "collate", at.decoded, at.made
    ready = max(handed.asked, min(at.made, handed.got))
    yield 0, "wait", handed.asked, ready
    yield 0, "hand-over", ready, handed.got
