"""Which fields of a group of blobs are compressed already, and the group without them.

An image file gets no smaller, and would be copied once more each time that it is read; text beside
it does. So they are two groups then.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from millstream.format.schema import Schema

# What is compressed already, whatever is in it.
PACKED_KINDS = {"jpeg", "png"}
# Of other fields some rows decide.
SAMPLE_ROWS, SAMPLE_BYTES = 64, 1 << 20
# Longer values are judged each alone: that files of a kind begin alike saves nothing in each.
LONG_BYTES = 4_096


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Blobs of some fields. ends: of each, beginning with 0. is_packed: whether to filter them."""

    fields: tuple[int, ...]
    ends: npt.NDArray[np.int64]
    data: memoryview
    is_packed: bool = True

    @property
    def rows(self) -> int:
        """How many blobs there are."""
        return len(self.ends) - 1

    def blobs(self, rows: Sequence[int] | None = None) -> list[memoryview]:
        """The blobs, or those of some rows."""
        starts, stops = self.ends[:-1], self.ends[1:]
        if rows is not None:
            starts, stops = starts[list(rows)], stops[list(rows)]
        return [self.data[a:b] for a, b in zip(starts.tolist(), stops.tolist(), strict=True)]


def divided(
    group: Group, schema: Schema, shrinks: Callable[[Sequence[bytes]], bool]
) -> list[Group]:
    """The fields of a group that are worth to be filtered, and the others, if there are both.

    shrinks: whether some bytes do, each alone, all together.
    """
    sample = sample_rows(group.rows, SAMPLE_ROWS)
    columns = zip(*split_rows(group, sample), strict=True)
    lone = {
        place
        for place, payloads in enumerate(columns)
        if schema.fields[group.fields[place]].kind in PACKED_KINDS or not shrinks(_sample(payloads))
    }
    if len(lone) in (0, len(group.fields)):
        return [replace(group, is_packed=not lone)]
    packed = [place for place in range(len(group.fields)) if place not in lone]
    rows = list(split_rows(group, range(group.rows)))
    return [
        replace(_of_places(group, rows, packed), is_packed=True),
        replace(_of_places(group, rows, sorted(lone)), is_packed=False),
    ]


def sample_rows(rows: int, most: int) -> list[int]:
    """Up to so many rows, evenly spread."""
    found: list[int] = np.unique(np.linspace(0, rows - 1, min(rows, most), dtype=np.int64)).tolist()
    return found


def split_rows(group: Group, rows: Sequence[int]) -> Iterator[list[memoryview]]:
    """The payloads of rows, in the order of the fields."""
    lengths = struct.Struct(f"<{len(group.fields) - 1}Q")
    for blob in group.blobs(rows):
        at, payloads = lengths.size, []
        for length in lengths.unpack_from(blob):
            payloads.append(blob[at : at + length])
            at += length
        yield [*payloads, blob[at:]]


def _of_places(group: Group, rows: Sequence[list[memoryview]], places: Sequence[int]) -> Group:
    lengths = struct.Struct(f"<{len(places) - 1}Q")
    blobs = []
    for row in rows:
        some = [row[place] for place in places]
        blobs.append(b"".join([lengths.pack(*map(len, some[:-1])), *some]))
    return Group(
        fields=tuple(group.fields[place] for place in places),
        ends=np.cumsum([0, *map(len, blobs)], dtype=np.int64),
        data=memoryview(b"".join(blobs)),
    )


def _sample(payloads: Sequence[memoryview]) -> list[bytes]:
    """Some bytes of many values rather than many of a few; short ones one after another."""
    each = max(1, SAMPLE_BYTES // max(len(payloads), 1))
    pieces = [bytes(payload[:each]) for payload in payloads]
    if sum(map(len, pieces)) >= LONG_BYTES * len(pieces):
        return pieces
    return [b"".join(pieces)]
