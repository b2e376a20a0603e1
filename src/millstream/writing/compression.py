"""What `compression=` asks for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from millstream.errors import UsageError
from millstream.format import Packing
from millstream.format.zstd import LEVELS, MakeZstd

By = Literal["row", "frame", "chunk"]

DEFAULT_LEVEL = 3
# Several rows a frame: as much as a page of a column.
FRAME_BYTES = 65_536
_FORM = re.compile(r"zstd(?::(\d{1,3}))?(?:/(row|frame|chunk))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Compression:
    """zstd of a level, and what is compressed at once."""

    level: int = DEFAULT_LEVEL
    by: By = "row"

    def __str__(self) -> str:
        return f"zstd:{self.level}/{self.by}"

    @property
    def zstd(self) -> MakeZstd:
        """What compresses, without a dictionary."""
        return MakeZstd(level=self.level)

    def packing(self) -> Packing:
        """What it means for a chunk."""
        zstd = self.zstd
        if self.by == "chunk":
            return Packing(body=(zstd,))
        if self.by == "frame":
            return Packing(pages=(zstd,), blob_page=FRAME_BYTES)
        rows = MakeZstd(level=self.level, with_dictionary=True)
        return Packing(rows=(rows,), pages=(zstd,), trains=True)


def parse_compression(value: object) -> Compression | None:
    """From what the user wrote; raises UsageError."""
    if value is None:
        return None
    found = _FORM.fullmatch(value) if isinstance(value, str) else None
    level = int(found[1] or DEFAULT_LEVEL) if found else 0
    if found is None or level not in LEVELS:
        raise UsageError(
            f"compression is {value!r:.60}, expected None, 'zstd', or 'zstd:LEVEL' with a level "
            f"from {LEVELS[0]} to {LEVELS[-1]}; both may end in '/frame' or '/chunk', which "
            "compress several rows, or all of a chunk, at once"
        )
    match found[2]:
        case "frame":
            return Compression(level=level, by="frame")
        case "chunk":
            return Compression(level=level, by="chunk")
    return Compression(level=level)
