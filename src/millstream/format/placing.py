"""Where each part of a chunk goes: tables first, then columns, blobs and tokens, all aligned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod

import numpy as np

from millstream.format.codecs import Shape
from millstream.format.layout import (
    PAGE_BYTES,
    BlobGroup,
    Column,
    Layout,
    Span,
    TokenColumn,
    aligned,
)
from millstream.format.schema import Schema

MIN_PAGE_BYTES = 4_096
# Half a page of a column: some tokens in a row touch two pages that they do not fill.
TOKEN_PAGE_BYTES = 32_768


def lay_out(
    schema: Schema,
    rows: int,
    columns: Mapping[int, tuple[str, Shape]],
    groups: Sequence[tuple[tuple[int, ...], int]],
    tokens: Mapping[int, tuple[str, int]] | None = None,
) -> Layout:
    """The layout of a chunk.

    columns: by field number, the storage dtype and the shape of its rows. groups: the fields of
    each blob group and the bytes of all its blobs. tokens: by field number, the storage dtype and
    how many tokens all rows have.
    """
    place = _Place()
    budget = max(MIN_PAGE_BYTES, PAGE_BYTES >> max(len(columns) - 1, 0).bit_length())
    items = {f: np.dtype(dtype).itemsize * prod(shape) for f, (dtype, shape) in columns.items()}
    pages = {field: max(1, budget // max(size, 1)) for field, size in items.items()}
    sums = {f: place.take(8 * -(-rows // page) if items[f] else 0) for f, page in pages.items()}
    tables = [(place.take(8 * (rows + 1)), place.take(8 * rows)) for _ in groups]
    runs = [_tabled(place, rows, field, *run) for field, run in (tokens or {}).items()]
    data = {field: place.take(rows * size) for field, size in items.items()}
    blobs = [place.take(length) for _, length in groups]
    return Layout(
        schema=schema,
        rows=rows,
        columns=tuple(
            Column(
                field=field,
                dtype=dtype,
                shape=shape,
                page=pages[field],
                sums=sums[field],
                data=data[field],
            )
            for field, (dtype, shape) in columns.items()
        ),
        groups=tuple(
            BlobGroup(fields=fields, offsets=offsets, sums=group_sums, data=blob)
            for (fields, _), (offsets, group_sums), blob in zip(groups, tables, blobs, strict=True)
        ),
        tokens=tuple(replace(run, data=place.take(run.data.length)) for run in runs),
    )


def _tabled(place: _Place, rows: int, field: int, dtype: str, count: int) -> TokenColumn:
    """A token column whose tables have their places, and whose data has none yet."""
    length = count * np.dtype(dtype).itemsize
    return TokenColumn(
        field=field,
        dtype=dtype,
        page=TOKEN_PAGE_BYTES,
        offsets=place.take(8 * (rows + 1)),
        sums=place.take(8 + 8 * -(-length // TOKEN_PAGE_BYTES)),
        data=Span(0, length),
    )


class _Place:
    """Gives out spans one after another, each aligned."""

    def __init__(self) -> None:
        self._end = 0

    def take(self, length: int) -> Span:
        start = aligned(self._end) if length else self._end
        self._end = start + length
        return Span(start, length)
