"""What a finished job says."""

from __future__ import annotations

from dataclasses import dataclass

from millstream.units import size_text
from millstream.writing.segment import Skipped


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """samples, chunks: counts. bytes: of all chunks. seconds: of this run."""

    place: str
    samples: int
    bytes: int
    chunks: int
    seconds: float
    skipped: tuple[Skipped, ...] = ()
    already_done: bool = False

    def __str__(self) -> str:
        done = "was already complete" if self.already_done else f"in {self.seconds:.1f} s"
        text = (
            f"{self.place}: {self.samples:,} samples, {size_text(self.bytes)} in {self.chunks:,} "
            f"{'chunk' if self.chunks == 1 else 'chunks'}, {done}"
        )
        if self.skipped:
            first = self.skipped[0]
            text += (
                f"; {len(self.skipped):,} inputs skipped, the first is input {first.input}: "
                f"{first.error}"
            )
        return text
