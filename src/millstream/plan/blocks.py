"""Blocks of one size over a line of chunks: block i has the elements from i * size on.

A block belongs to the chunk where it starts. What is left at the end and fills no block is none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from millstream.plan.permute import Ints


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pieces:
    """Blocks, cut where chunks end; int64, one entry a piece.

    place: which of the blocks. at: where in it the piece begins. chunk, start, stop: the elements
    of the chunk. A block's first pieces come first, in the order of the blocks.
    """

    place: Ints
    at: Ints
    chunk: Ints
    start: Ints
    stop: Ints


def block_counts(lengths: Ints, size: int) -> Ints:
    """How many blocks start in each chunk, from the chunks' lengths."""
    ends = np.cumsum(lengths)
    whole = int(ends[-1]) // size if len(ends) else 0
    before = np.minimum(-(-ends // size), whole)  # the blocks that start before a chunk's end
    return np.diff(before, prepend=0)


def pieces(ends: Ints, blocks: Ints, size: int) -> Pieces:
    """Where the elements of blocks lie. ends: those of the chunks, counted through all of them."""
    place, start = np.arange(len(blocks)), blocks * size
    stops = start + size
    found = []
    while len(place):
        chunk = np.searchsorted(ends, start, side="right")
        stop = np.minimum(stops, ends[chunk])
        found.append((place, start, chunk, stop))
        rest = stop < stops
        place, start, stops = place[rest], stop[rest], stops[rest]
    if not found:
        nothing = np.zeros(0, np.int64)
        return Pieces(place=nothing, at=nothing, chunk=nothing, start=nothing, stop=nothing)
    place, start, chunk, stop = map(np.concatenate, zip(*found, strict=True))
    first = np.where(chunk > 0, ends[chunk - 1], 0)
    return Pieces(
        place=place,
        at=start - blocks[place] * size,
        chunk=chunk,
        start=start - first,
        stop=stop - first,
    )
