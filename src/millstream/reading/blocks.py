"""Blocks of tokens by their numbers, out of whatever chunks they lie in.

A block that goes on beyond its chunk takes the head of the next one: in place where that is near,
else by range, since the rest of that chunk has its own time in the order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from millstream.errors import RowOutOfRange, UsageError
from millstream.format import ChunkTable, Field, Manifest, Schema, TokenView
from millstream.format.tree import tree_of
from millstream.plan import BlockLine, Pieces, block_counts
from millstream.reading.reader import Array, Chunks, Empty, Rows, Values
from millstream.reading.renewal import read_renewed
from millstream.tokens import TokensLoader

TOKENS, SEGMENTS = "tokens", "segment_ids"


@dataclass(frozen=True, kw_only=True, eq=False)
class BlockItems:
    """A version of tokens, read in blocks; raises UsageError if it holds something else."""

    manifest: Manifest
    loader: TokensLoader

    def __post_init__(self) -> None:
        if self.manifest.tokens is None or len(self.manifest.schema.fields) != 1:
            raise UsageError(
                "this dataset was not written with item_loader=TokensLoader(), so it cannot be "
                "read with one: leave item_loader out to read its samples, or write it again with "
                "item_loader=TokensLoader() to have blocks"
            )
        if not self.counts.any():
            raise UsageError(
                f"a dataset of {self.manifest.tokens:,} tokens has no block of "
                f"{self.block_size:,}; choose a smaller block_size"
            )

    @property
    def block_size(self) -> int:
        """The tokens of a block."""
        size = self.loader.block_size
        if size is None:
            raise UsageError("a TokensLoader without a block_size reads no blocks")
        return size

    @cached_property
    def schema(self) -> Schema:
        """What a block looks like. Fields have no shape, since no column of a chunk holds them."""
        stored = self.manifest.schema
        if not self.loader.return_boundaries:
            return stored
        of = replace(stored.fields[0], name=TOKENS)
        dtype = "int32" if of.kind == "tensor" else "<i4"
        fields = (Field(name=SEGMENTS, kind=of.kind, dtype=dtype), of)
        return Schema(tree=tree_of({SEGMENTS: 0, TOKENS: 0}), fields=fields)

    @cached_property
    def counts(self) -> Rows:
        """The blocks that start in each chunk, int64."""
        return block_counts(_lengths(self.manifest.chunks), self.block_size)

    def reader(
        self, chunks: Chunks, heads: Chunks, dtypes: Sequence[np.dtype[Any] | None]
    ) -> BlockReader:
        """Reads blocks; heads: where the heads of further chunks come from."""
        return BlockReader(self, chunks, heads, dtypes)


class BlockReader:
    """Reads blocks of one dataset version. dtypes: of the fields of a block."""

    def __init__(
        self,
        items: BlockItems,
        chunks: Chunks,
        heads: Chunks,
        dtypes: Sequence[np.dtype[Any] | None],
    ) -> None:
        self._size, self._chunks, self._heads = items.block_size, chunks, heads
        self._names = [field.name for field in items.schema.fields]
        self._dtypes = [np.dtype(dtype) for dtype in dtypes]
        self._count = int(items.counts.sum())
        self._line = BlockLine(_lengths(items.manifest.chunks), items.block_size)

    def read(
        self, rows: Rows, fields: Sequence[int], empty: Empty = np.empty
    ) -> tuple[list[Values], Rows]:
        """The wanted fields of blocks (int64, in any order, repeats allowed), in that order.

        Each is an array (blocks, block_size), which `empty` makes. And which blocks these really
        are.
        """
        outs = [empty((len(rows), self._size), self._dtypes[field]) for field in fields]
        wanted = zip([self._names[field] for field in fields], outs, strict=True)
        return [*outs], self.read_blocks(rows, dict(wanted))

    def read_one(self, row: int, fields: Sequence[int]) -> list[Values]:
        """The wanted fields of one block, (1, block_size)."""
        return self.read(np.array([row], np.int64), fields)[0]

    def read_blocks(self, blocks: Rows, outs: Mapping[str, Array]) -> Rows:
        """Fills the arrays of fields, by name; returns the numbers of the blocks that it took.

        Raises RowOutOfRange.
        """
        if len(blocks) and blocks.view(np.uint64).max() >= self._count:  # negative ones are large
            raise RowOutOfRange(f"a block lies outside a version of {self._count:,} blocks")
        first, heads = self._line.pieces(blocks)
        read_renewed(
            self._chunks,
            lambda: [c for some in (first, heads) if some for c, _ in some.by_chunk()],
            lambda: self._read(first, heads, outs),
        )
        taken = np.full(len(blocks), -1, np.int64)
        taken[first.place] = self._line.blocks(first)
        return taken

    def _read(self, first: Pieces, heads: Pieces | None, outs: Mapping[str, Array]) -> None:
        if heads is None:
            opened = _opened(self._chunks, first)
        elif self._heads is self._chunks:  # then asked for together
            opened = _opened(self._chunks, first.with_others(heads))
        else:
            opened = _opened(self._chunks, first) + _opened(self._heads, heads)
        for name, out in outs.items():
            (_fill_segments if name == SEGMENTS else _fill_tokens)(opened, out)


# The tokens of a chunk; and where a piece of them goes: place, at, start, stop, as in `Pieces`.
_Piece = tuple[TokenView, int, int, int, int]


def _opened(chunks: Chunks, pieces: Pieces) -> list[_Piece]:
    """Pieces beside their chunks, of which only the pieces need to be there."""
    parts, ranges = list(pieces.by_chunk()), pieces.ranges()
    opened = chunks.views([(chunk, ranges[part]) for chunk, part in parts], [0])
    views: list[TokenView] = []
    for view, (_, part) in zip(opened, parts, strict=True):
        views += [view.tokens(0)] * (part.stop - part.start)
    columns = (pieces.place, pieces.at, pieces.start, pieces.stop)
    return list(zip(views, *[column.tolist() for column in columns], strict=True))


def _fill_tokens(opened: Sequence[_Piece], out: Array) -> None:
    for view, place, at, start, stop in opened:
        out[place, at : at + stop - start] = view.tokens(start, stop)


def _fill_segments(opened: Sequence[_Piece], out: Array) -> None:
    """Ones where documents begin, but for the first token of a block; and then their sums."""
    out[...] = 0
    for view, place, at, start, stop in opened:
        out[place, view.borders(start, stop) + (at - start)] = 1
        if at and not view.joins:
            out[place, at] = 1
    np.add.accumulate(out, axis=1, dtype=out.dtype, out=out)


def _lengths(table: ChunkTable) -> Rows:
    """The tokens of each chunk."""
    return np.zeros(0, np.int64) if table.tokens is None else table.tokens.astype(np.int64)
