"""Parts -> the bytes of a chunk."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
from blake3 import blake3
from xxhash import xxh3_64_intdigest

from millstream.format.codecs import Shape
from millstream.format.columns import join_rows
from millstream.format.division import Group, split_rows
from millstream.format.layout import Column, Identity, Layout, Span, preamble
from millstream.format.packing import PLAIN, Packing, Sections, pack_body, packed
from millstream.format.part import Arrays, Blobs, Bytes, Part
from millstream.format.placing import lay_out
from millstream.format.schema import Schema
from millstream.format.tokens import Tokens, goes_on, token_offsets, token_sums


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """One finished chunk. pieces: its bytes, to be written one after another."""

    layout: Layout
    pieces: tuple[memoryview, ...]

    @property
    def size(self) -> int:
        """The length of the object in bytes."""
        return sum(map(len, self.pieces))

    def digest(self) -> bytes:
        """BLAKE3 of the object, 32 bytes: its name."""
        return object_digest(self.pieces)


def object_digest(pieces: Iterable[memoryview]) -> bytes:
    """BLAKE3 of an object given in pieces, 32 bytes."""
    hasher = blake3()
    for piece in pieces:
        hasher.update(piece)
    return hasher.digest()


def chunk_layout(
    schema: Schema,
    rows: int,
    arrays: Mapping[int, tuple[str, Shape | int]],
    blob_bytes: int | None,
    tokens: Mapping[int, tuple[str, int]] | None = None,
) -> Layout:
    """The layout of a chunk from what decides it.

    arrays: for each array field its storage dtype, and the shape of its rows or, where these
    differ, the bytes of all its blobs. blob_bytes: of the other fields; None if there are none.
    tokens: for each token field its storage dtype and how many tokens all rows have.
    """
    columns = {f: (dtype, what) for f, (dtype, what) in arrays.items() if isinstance(what, tuple)}
    groups: list[tuple[tuple[int, ...], int]]
    groups = [((field,), what) for field, (_, what) in arrays.items() if isinstance(what, int)]
    if blob_bytes is not None:
        fields = tuple(i for i in range(len(schema.fields)) if i not in arrays)
        groups.append((fields, blob_bytes))
    return lay_out(schema, rows, columns, groups, tokens)


def array_blob_bytes(dtype: str, shape: Shape) -> int:
    """The length of an array's blob: its rank and shape, u64 each, and its elements."""
    return 8 + 8 * len(shape) + np.dtype(dtype).itemsize * prod(shape)


def assemble(parts: Sequence[Part], identity: Identity, packing: Packing = PLAIN) -> Chunk:
    """One chunk of all the rows of some parts of one schema, in order; none lies in files."""
    layout, sections = laid_out(parts, packing)
    if not packing.is_plain:
        layout, sections = packed(layout, sections, packing, identity)
    body: Sequence[memoryview] = list(_pieces(layout, sections))
    layout, body = pack_body(layout, body, packing, identity)
    header = layout.header()
    head = memoryview(preamble(layout, header, identity)), memoryview(header)
    return Chunk(layout=layout, pieces=(*head, *body))


def laid_out(parts: Sequence[Part], packing: Packing = PLAIN) -> tuple[Layout, Sections]:
    """The layout of some parts, and what lies in its spans, before any filter."""
    if packing.whole_rows:
        parts = list(map(in_rows, parts))
    rows = sum(part.rows for part in parts)
    columns: dict[int, list[Arrays]] = {}
    blobs: dict[tuple[int, ...], Blobs] = {}
    arrays: dict[int, tuple[str, Shape | int]] = {}
    for field, first in parts[0].arrays.items():
        values = [part.arrays[field] for part in parts]
        shapes = {shape for some in values for shape in some.shapes}
        if len(shapes) == 1:
            columns[field] = values
            arrays[field] = first.dtype, shapes.pop()
        else:
            blobs[field,] = _array_blobs(values)
            arrays[field] = first.dtype, len(blobs[field,].data)
    rest = [part.blobs for part in parts if part.blobs is not None]
    size = sum(len(some.data) for some in rest)
    tokens = {field: [part.tokens[field] for part in parts] for field in parts[0].tokens}
    counts = {field: _dtype_and_count(some) for field, some in tokens.items()}
    layout = chunk_layout(parts[0].schema, rows, arrays, size if rest else None, counts)
    if tokens:
        runs = [replace(run, joins=goes_on(tokens[run.field])) for run in layout.tokens]
        layout = replace(layout, tokens=tuple(runs))
    sections: dict[Span, Sequence[np.ndarray]] = dict(_columns(layout, columns))
    sections.update(_token_sections(layout, tokens))
    for group in layout.groups:
        some = [blobs[group.fields]] if group.fields in blobs else rest
        sections[group.offsets] = [_offsets(some)]
        sections[group.sums] = [np.concatenate([b.sums for b in some]).astype("<u8")]
        sections[group.data] = [b.data for b in some]
    return layout, sections


def _columns(
    layout: Layout, columns: Mapping[int, list[Arrays]]
) -> Iterator[tuple[Span, list[np.ndarray]]]:
    for column in layout.columns:
        data = [values.data for values in columns[column.field]]
        joined = data[0] if len(data) == 1 else np.concatenate(data)
        if column.data.length:
            yield column.sums, [_page_sums(column, joined)]
            yield column.data, [joined]


def _dtype_and_count(rows: Sequence[Tokens]) -> tuple[str, int]:
    return rows[0].dtype, sum(int(some.counts.sum()) for some in rows)


def _token_sections(
    layout: Layout, tokens: Mapping[int, list[Tokens]]
) -> Iterator[tuple[Span, list[np.ndarray]]]:
    for column in layout.tokens:
        rows = tokens[column.field]
        offsets = token_offsets(rows)
        yield column.offsets, [offsets]
        yield column.sums, [token_sums(column, offsets, rows)]
        yield column.data, [some.data for some in rows]


def _page_sums(column: Column, data: Bytes) -> np.ndarray:
    view, step = data.data, column.page * column.itemsize
    sums = [xxh3_64_intdigest(view[at : at + step]) for at in range(0, len(view), step)]
    return np.array(sums, "<u8")


def _offsets(blobs: Sequence[Blobs]) -> np.ndarray:
    sizes = np.concatenate([some.sizes for some in blobs])
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)]).astype("<u8")


def in_rows(part: Part) -> Part:
    """The same rows with all fields in one blob each: arrays as those whose shapes differ."""
    if not part.arrays:
        return part
    columns: dict[int, list[Any]] = {}
    for field, values in part.arrays.items():
        columns[field] = _slices(_array_blobs([values]))
    if part.blobs is not None:
        fields = tuple(f for f in range(len(part.schema.fields)) if f not in part.arrays)
        blobs = part.blobs
        ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(blobs.sizes)])
        group = Group(fields=fields, ends=ends, data=blobs.data.data)
        rest = zip(*split_rows(group, range(part.rows)), strict=True)
        columns.update(zip(fields, map(list, rest), strict=True))
    joined = join_rows([columns[field] for field in sorted(columns)])
    return replace(part, arrays={}, blobs=joined)


def _slices(blobs: Blobs) -> list[memoryview]:
    ends = np.cumsum(blobs.sizes).tolist()
    return [blobs.data.data[a:b] for a, b in zip([0, *ends], ends, strict=False)]


def _array_blobs(values: Sequence[Arrays]) -> Blobs:
    pieces: list[bytes] = []
    for some in values:
        ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(some.sizes())])
        for row in range(some.rows):
            shape = some.shape(row)
            pieces.append(struct.pack(f"<{1 + len(shape)}Q", len(shape), *shape))
            pieces[-1] += some.data[ends[row] : ends[row + 1]].tobytes()
    return Blobs(
        sizes=np.array([len(piece) for piece in pieces], np.int64),
        sums=np.array([xxh3_64_intdigest(piece) for piece in pieces], np.uint64),
        data=np.frombuffer(b"".join(pieces), np.uint8),
    )


def _pieces(layout: Layout, sections: Sections) -> Iterator[memoryview]:
    at = 0
    for span in layout.spans():
        if not span.length:
            continue
        yield memoryview(bytes(span.offset - at))
        for array in sections[span]:
            yield array.view(np.uint8).data
        at = span.stop
