"""How a chunk is stored, in a few words: what was compressed at once, and how much that saves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from millstream.format.ciphers import cipher_spec
from millstream.format.layout import Layout
from millstream.format.plain import paged_parts
from millstream.format.zstd import NAME


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """level: of zstd, None without it. by: what is compressed at once where rows lie alone.

    ratio: the bytes of what it holds to the bytes that are stored, tables and all; None where the
    former are not said. dictionary: its bytes. cipher: the name of what encrypts it, None without.
    is_whole: whether there is a filter of the whole body.
    """

    level: int | None
    by: Literal["row", "frame", "chunk"]
    ratio: float | None
    dictionary: int
    cipher: str | None
    is_whole: bool

    @property
    def opened_at_once(self) -> Literal["row", "frame", "chunk"]:
        """What has to be opened for one row; a few numbers are few."""
        return "chunk" if self.is_whole else self.by


def stored(layout: Layout) -> Stored:
    """That of a chunk."""
    levels = [spec.get("level") for spec in layout.filters if spec["name"] == NAME]
    level = next((level for level in levels if isinstance(level, int)), None)
    by: Literal["row", "frame", "chunk"] = "row"
    if layout.body is not None and any(spec["name"] == NAME for spec in layout.body.filters):
        by = "chunk"
    elif any(group.frames is not None for group in layout.groups):
        by = "frame"
    raw = _raw_bytes(layout)
    ratio = None if raw is None else raw / max(layout.stored_bytes, 1)
    dictionary = 0 if layout.dictionary is None else layout.dictionary.data.length
    spec = cipher_spec(layout.filters)
    return Stored(
        level=level,
        by=by,
        ratio=ratio,
        dictionary=dictionary,
        cipher=None if spec is None else str(spec["name"]),
        is_whole=layout.body is not None,
    )


def _raw_bytes(layout: Layout) -> int | None:
    """The bytes of a body without any filter, but for alignment; None if a part does not say."""
    sizes: list[int | None] = [layout.rows * column.itemsize for column in layout.columns]
    sizes += [
        group.raw if group.raw is not None or group.filters else group.data.length
        for group in layout.groups
    ]
    sizes += [column.nbytes for column in layout.tokens]
    known = [size for size in sizes if size is not None]
    # Without frames and a dictionary, which there would be none of.
    frames = [part.frames for _, part in paged_parts(layout)]
    beside = [span.length for span in frames if span is not None]
    if layout.dictionary is not None:
        beside += [layout.dictionary.sum.length, layout.dictionary.data.length]
    tables = sum(span.length for span in layout.tables()) - sum(beside)
    return sum(known) + tables if len(known) == len(sizes) else None
