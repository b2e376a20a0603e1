"""Where everything lies in a chunk: pure arithmetic, and the header that says it.

docs/format.md describes the bytes; the names here are the same. A chunk is a preamble of 64
bytes, a JSON header, and a body; spans are counted from the start of the body.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod

import numpy as np
from xxhash import xxh3_64

from millstream.format.codecs import Shape
from millstream.format.schema import Schema

Buffer = bytes | memoryview

MAGIC = b"MILLCHNK"
VERSION = 0
ALIGN = 64
PREAMBLE = struct.Struct("<8sHHIQQQ16s")  # and then its checksum
HEAD_BYTES = PREAMBLE.size + 8
PAGE_BYTES = 65_536
MAX_ROWS = (1 << 32) - 1
MAX_HEADER_BYTES = 1 << 26


@dataclass(frozen=True, slots=True)
class Span:
    """Some bytes of the body."""

    offset: int
    length: int

    @property
    def stop(self) -> int:
        """The first byte after it."""
        return self.offset + self.length


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """An array field whose rows in this chunk share one shape.

    page: how many rows one checksum covers. sums: a u64 a page. data: (rows, *shape), C order.
    frames: where the data is filtered, a page a frame, their pages + 1 offsets in it (u64).
    """

    field: int
    dtype: str
    shape: Shape
    page: int
    sums: Span
    data: Span
    frames: Span | None = None

    @property
    def itemsize(self) -> int:
        """The bytes of one row."""
        return np.dtype(self.dtype).itemsize * prod(self.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobGroup:
    """Fields that lie row by row.

    offsets: rows + 1 u64, from the start of data. sums: a u64 a row. data: the blobs.
    """

    fields: tuple[int, ...]
    offsets: Span
    sums: Span
    data: Span


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenColumn:
    """A field of one long 1-D array: the rows' arrays end to end.

    offsets: rows + 1 u64, in elements. page: how many bytes one checksum covers. sums: a u64 for
    the offsets and one a page. joins: whether the first row goes on with the last one of the
    chunk before.
    """

    field: int
    dtype: str
    page: int
    offsets: Span
    sums: Span
    data: Span
    joins: bool = False

    @property
    def count(self) -> int:
        """The number of elements."""
        return self.data.length // np.dtype(self.dtype).itemsize


Filter = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What was done to the bytes, in that order: {"name": "zstd" or a cipher, parameters...}.

    body: to the whole body at once. rows: to each blob. columns: to each page of a column.
    """

    body: tuple[Filter, ...] = ()
    rows: tuple[Filter, ...] = ()
    columns: tuple[Filter, ...] = ()

    def names(self) -> list[str]:
        """The filters' names, for a message."""
        return [str(f.get("name")) for f in (*self.body, *self.rows, *self.columns)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Which chunk of which job: enough to rebuild a lost manifest from the chunks alone."""

    job: bytes
    sequence: int

    def __post_init__(self) -> None:
        if len(self.job) != 16:
            raise ValueError(f"a job's digest has 16 bytes, got {len(self.job)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """A chunk's parts and their places. Nothing in it depends on the bytes of the rows."""

    schema: Schema
    rows: int
    columns: tuple[Column, ...]
    groups: tuple[BlobGroup, ...]
    tokens: tuple[TokenColumn, ...] = ()
    filters: Filters = Filters()
    dictionary: Span | None = None

    def header(self) -> bytes:
        """The JSON header, padded with spaces so that the body starts aligned."""
        text = json.dumps(self._to_json(), separators=(",", ":")).encode()
        return text.ljust(aligned(HEAD_BYTES + len(text)) - HEAD_BYTES)

    def _to_json(self) -> dict[str, object]:
        # What a chunk does not have is not named, so other chunks know nothing of tokens.
        tokens = {"tokens": [_token_json(column) for column in self.tokens]} if self.tokens else {}
        return {
            "schema": self.schema.to_json(),
            "columns": [
                {
                    "field": column.field,
                    "dtype": column.dtype,
                    "shape": list(column.shape),
                    "page": column.page,
                    "sums": _pair(column.sums),
                    "data": _pair(column.data),
                }
                for column in self.columns
            ],
            "blobs": [
                {
                    "fields": list(group.fields),
                    "offsets": _pair(group.offsets),
                    "sums": _pair(group.sums),
                    "data": _pair(group.data),
                }
                for group in self.groups
            ],
            **tokens,
        }

    def spans(self) -> Iterator[Span]:
        """All spans, in the order of their offsets."""
        for column in self.columns:
            yield column.sums
        for group in self.groups:
            yield from (group.offsets, group.sums)
        for some in self.tokens:
            yield from (some.offsets, some.sums)
        yield from (column.data for column in self.columns)
        yield from (group.data for group in self.groups)
        yield from (some.data for some in self.tokens)

    def count_tokens(self) -> int | None:
        """The tokens of all token fields; None if there is no such field."""
        return sum(column.count for column in self.tokens) if self.tokens else None

    @property
    def body_bytes(self) -> int:
        """The length of the body."""
        return max((span.stop for span in self.spans()), default=0)

    @property
    def tables_bytes(self) -> int:
        """How much of the body the checksums and offsets take; they come first."""
        tables = [column.sums.stop for column in self.columns]
        tables += [group.sums.stop for group in self.groups]
        tables += [some.sums.stop for some in self.tokens]
        return max(tables, default=0)

    def lead(self) -> int:
        """How much of the object to read first: the tables, and the columns if they are small.

        Small means that all of it is at most 64 KiB. What is left are the row's own bytes.
        """
        start, tables = HEAD_BYTES + len(self.header()), self.tables_bytes
        columns = max([tables, *(column.data.stop for column in self.columns)])
        return start + (columns if start + columns <= PAGE_BYTES else tables)


def object_bytes(layout: Layout) -> int:
    """The length of the whole object."""
    return HEAD_BYTES + len(layout.header()) + layout.body_bytes


def preamble(layout: Layout, header: bytes, identity: Identity) -> bytes:
    """The first 64 bytes of a chunk."""
    size = HEAD_BYTES + len(header) + layout.body_bytes
    fields = PREAMBLE.pack(
        MAGIC, VERSION, 0, len(header), size, layout.rows, identity.sequence, identity.job
    )
    return fields + struct.pack("<Q", head_checksum(fields, header))


def head_checksum(fields: Buffer, header: Buffer) -> int:
    """xxh3 of the preamble's fields and the header: of all that says what the body is."""
    hasher = xxh3_64(fields)
    hasher.update(header)
    return hasher.intdigest()


def _token_json(column: TokenColumn) -> dict[str, object]:
    return {
        "field": column.field,
        "dtype": column.dtype,
        "page": column.page,
        "offsets": _pair(column.offsets),
        "sums": _pair(column.sums),
        "data": _pair(column.data),
        "joins": column.joins,
    }


def _pair(span: Span) -> list[int]:
    return [span.offset, span.length]


def aligned(offset: int) -> int:
    """The first multiple of 64 from here on."""
    return -(-offset // ALIGN) * ALIGN
