"""Where each part of a chunk goes: tables first, then columns, blobs and tokens, all aligned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import TypeVar

import numpy as np

from millstream.format.codecs import Shape
from millstream.format.layout import (
    PAGE_BYTES,
    BlobGroup,
    Column,
    Dictionary,
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
    budget = max(MIN_PAGE_BYTES, PAGE_BYTES >> max(len(columns) - 1, 0).bit_length())
    return placed(
        Layout(
            schema=schema,
            rows=rows,
            columns=tuple(
                _column(rows, field, dtype, shape, budget)
                for field, (dtype, shape) in columns.items()
            ),
            groups=tuple(
                BlobGroup(
                    fields=fields,
                    offsets=_length(8 * (rows + 1)),
                    sums=_length(8 * rows),
                    data=_length(nbytes),
                )
                for fields, nbytes in groups
            ),
            tokens=tuple(_tokens(rows, field, *run) for field, run in (tokens or {}).items()),
        )
    )


def placed(layout: Layout) -> Layout:
    """The same with offsets, for which only the lengths of its spans count."""
    place = _Place()
    columns = [
        replace(c, sums=place.take(c.sums), frames=place.take_any(c.frames)) for c in layout.columns
    ]
    groups = [_tabled(place, group) for group in layout.groups]
    tokens = [_tabled(place, some) for some in layout.tokens]
    dictionary = layout.dictionary
    if dictionary is not None:
        dictionary = Dictionary(sum=place.take(dictionary.sum), data=place.take(dictionary.data))
    return replace(
        layout,
        columns=tuple(replace(column, data=place.take(column.data)) for column in columns),
        groups=tuple(replace(group, data=place.take(group.data)) for group in groups),
        tokens=tuple(replace(some, data=place.take(some.data)) for some in tokens),
        dictionary=dictionary,
    )


def _column(rows: int, field: int, dtype: str, shape: Shape, budget: int) -> Column:
    itemsize = np.dtype(dtype).itemsize * prod(shape)
    page = max(1, budget // max(itemsize, 1))
    return Column(
        field=field,
        dtype=dtype,
        shape=shape,
        page=page,
        sums=_length(8 * -(-rows // page) if itemsize else 0),
        data=_length(rows * itemsize),
    )


def _tokens(rows: int, field: int, dtype: str, count: int) -> TokenColumn:
    length = count * np.dtype(dtype).itemsize
    return TokenColumn(
        field=field,
        dtype=dtype,
        page=TOKEN_PAGE_BYTES,
        offsets=_length(8 * (rows + 1)),
        sums=_length(8 + 8 * -(-length // TOKEN_PAGE_BYTES)),
        data=_length(length),
    )


def _length(length: int) -> Span:
    """A span that has no place yet."""
    return Span(0, length)


Tabled = TypeVar("Tabled", BlobGroup, TokenColumn)


def _tabled(place: _Place, part: Tabled) -> Tabled:
    return replace(
        part,
        offsets=place.take(part.offsets),
        sums=place.take(part.sums),
        frames=place.take_any(part.frames),
    )


class _Place:
    """Gives out spans one after another, each aligned."""

    def __init__(self) -> None:
        self._end = 0

    def take(self, span: Span) -> Span:
        start = aligned(self._end) if span.length else self._end
        self._end = start + span.length
        return Span(start, span.length)

    def take_any(self, span: Span | None) -> Span | None:
        return None if span is None else self.take(span)
