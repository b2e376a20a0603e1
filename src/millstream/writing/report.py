"""What a finished job says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from millstream.units import size_text
from millstream.writing.segment import Skipped


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a job says that wrote a dataset; printed, in one line.

    Attributes:
        place: Where the dataset is.
        samples: Of the job, of earlier runs of it too.
        bytes: Of the job's chunks.
        chunks: How many these are.
        seconds: Of this run.
        skipped: The inputs that raised, with on_error="skip".
        already_done: Whether the job was finished before this run.
        version: The number of the version that holds the samples.
        total: All samples in that version.
        replaced: Of the version that an overwrite followed, which is kept: its number, samples
            and bytes.
        shard: Of a job that is run in shards, whose version is 0 until it is committed; samples and
            bytes are then what this shard made of its inputs, chunks are those of the job that are
            built by now.
    """

    place: str
    samples: int
    bytes: int
    chunks: int
    seconds: float
    skipped: tuple[Skipped, ...] = ()
    already_done: bool = False
    version: int = 1
    total: int = 0
    replaced: tuple[int, int, int] | None = None
    shard: str | None = None

    def __str__(self) -> str:
        if self.shard is not None:
            return self._of_shard()
        done = "was already complete" if self.already_done else f"in {self.seconds:.1f} s"
        text = (
            f"{self.place}: {self.samples:,} samples, {size_text(self.bytes)} in {self.chunks:,} "
            f"{'chunk' if self.chunks == 1 else 'chunks'}, {done}"
        )
        if self.version > 1:
            text += f"; version {self.version} has {self.total:,} samples"
        if self.already_done and self.total > self.samples:
            text += ", with these, and nothing was added again"
        if self.replaced is not None:
            number, samples, nbytes = self.replaced
            text += (
                f"; version {number} ({samples:,} samples, {size_text(nbytes)}) is kept for those "
                f"who read it: `millstream prune {self.place} --keep 1 --older-than 7d` frees it"
            )
        return text + skipped_text(self.skipped)

    def _of_shard(self) -> str:
        done = "were there already" if self.already_done else f"in {self.seconds:.1f} s"
        return (
            f"{self.place}: shard {self.shard}: {self.samples:,} samples, {size_text(self.bytes)}, "
            f"{done}; when all shards are done, `millstream commit {self.place}` publishes them"
        ) + skipped_text(self.skipped)


@dataclass(frozen=True, slots=True, kw_only=True)
class MapReport:
    """What a map says; printed, in one line.

    Attributes:
        place: Where the files are.
        inputs: How many there are.
        files: Of all inputs, of earlier runs too.
        bytes: Of these files.
        seconds: Of this run.
        skipped: The inputs that raised, with on_error="skip".
        already_done: Whether all files were there before this run.
    """

    place: str
    inputs: int
    files: int
    bytes: int
    seconds: float
    skipped: tuple[Skipped, ...] = ()
    already_done: bool = False

    def __str__(self) -> str:
        done = "was already complete" if self.already_done else f"in {self.seconds:.1f} s"
        text = (
            f"{self.place}: {self.files:,} {'file' if self.files == 1 else 'files'} of "
            f"{self.inputs:,} inputs, {size_text(self.bytes)}, {done}"
        )
        return text + skipped_text(self.skipped)


R = TypeVar("R", Report, MapReport)


def told(report: R, verbose: bool | None) -> R:
    """The report itself, printed unless that is not wanted."""
    if verbose is not False:
        print(report)
    return report


def skipped_text(skipped: tuple[Skipped, ...]) -> str:
    """How many inputs were skipped, and the first of them; "" for none."""
    if not skipped:
        return ""
    first = skipped[0]
    return f"; {len(skipped):,} inputs skipped, the first is input {first.input}: {first.error}"
