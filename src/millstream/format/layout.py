"""Where everything lies in a chunk: pure arithmetic, and the header that says it.

docs/format.md describes the bytes; the names here are the same. A chunk is a preamble of 64
bytes, a JSON header, and a body; spans are counted from the start of the body.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from math import prod

import numpy as np
from xxhash import xxh3_64

from millstream.format.codecs import Shape
from millstream.format.schema import Schema

Buffer = bytes | memoryview
# What a header says of one filter: {"name": "zstd" or a cipher, parameters...}.
Spec = Mapping[str, object]

MAGIC = b"MILLCHNK"
VERSION = 1
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
    filters: of each page, in the order in which they were applied; frames: if there are any, where
    each page lies in data then, pages + 1 u64.
    """

    field: int
    dtype: str
    shape: Shape
    page: int
    sums: Span
    data: Span
    filters: tuple[Spec, ...] = ()
    frames: Span | None = None

    @property
    def itemsize(self) -> int:
        """The bytes of one row."""
        return np.dtype(self.dtype).itemsize * prod(self.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobGroup:
    """Fields that lie row by row.

    offsets: rows + 1 u64, from the start of data. sums: a u64 a row. data: the blobs. filters: of
    each blob; then offsets are those of what is stored.

    If the group is paged, by `page` bytes, its filters are those of each page: `offsets` are of
    what was written, of which there are `raw` bytes; sums is a u64 for them and one a page; frames
    as in a column.
    """

    fields: tuple[int, ...]
    offsets: Span
    sums: Span
    data: Span
    filters: tuple[Spec, ...] = ()
    page: int | None = None
    raw: int | None = None
    frames: Span | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenColumn:
    """A field of one long 1-D array: the rows' arrays end to end.

    offsets: rows + 1 u64, in elements. page: how many bytes one checksum covers. sums: a u64 for
    the offsets and one a page. joins: whether the first row goes on with the last one of the
    chunk before. filters, frames: as in a column; raw: the bytes of all elements then.
    """

    field: int
    dtype: str
    page: int
    offsets: Span
    sums: Span
    data: Span
    joins: bool = False
    filters: tuple[Spec, ...] = ()
    raw: int | None = None
    frames: Span | None = None

    @property
    def nbytes(self) -> int:
        """The bytes of all elements."""
        return self.data.length if self.raw is None else self.raw

    @property
    def count(self) -> int:
        """The number of elements."""
        return self.nbytes // np.dtype(self.dtype).itemsize


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """What was done to the whole body; spans are of what it was before, `raw` bytes.

    stored: the bytes that are there instead. sum: their xxh3.
    """

    filters: tuple[Spec, ...]
    raw: int
    stored: int
    sum: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Dictionary:
    """What filters of a chunk share. sum: the xxh3 of data, a u64."""

    sum: Span
    data: Span


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
    dictionary: Dictionary | None = None
    body: Body | None = None

    def header(self) -> bytes:
        """The JSON header, padded with spaces so that the body starts aligned."""
        text = json.dumps(self._to_json(), separators=(",", ":")).encode()
        return text.ljust(aligned(HEAD_BYTES + len(text)) - HEAD_BYTES)

    def _to_json(self) -> dict[str, object]:
        # What a chunk does not have is not named, so other chunks know nothing of it.
        return {
            "schema": self.schema.to_json(),
            "columns": [_entry(column) for column in self.columns],
            "blobs": [_entry(group) for group in self.groups],
            **({"tokens": [_entry(column) for column in self.tokens]} if self.tokens else {}),
            **({} if self.dictionary is None else {"dictionary": _entry(self.dictionary)}),
            **({} if self.body is None else {"body": _body_json(self.body)}),
        }

    def tables(self) -> Iterator[Span]:
        """The spans of checksums, offsets and the dictionary, in the order of their offsets."""
        for column in self.columns:
            yield from _spans(column.sums, column.frames)
        for group in self.groups:
            yield from _spans(group.offsets, group.sums, group.frames)
        for some in self.tokens:
            yield from _spans(some.offsets, some.sums, some.frames)
        if self.dictionary is not None:
            yield from (self.dictionary.sum, self.dictionary.data)

    def spans(self) -> Iterator[Span]:
        """All spans, in the order of their offsets."""
        yield from self.tables()
        for entries in (self.columns, self.groups, self.tokens):
            yield from (entry.data for entry in entries)

    @property
    def filters(self) -> tuple[Spec, ...]:
        """Those of all parts, each once, in the order of the header."""
        parts: list[Column | BlobGroup | TokenColumn] = [*self.columns, *self.groups, *self.tokens]
        listed = [part.filters for part in parts]
        listed += [self.body.filters] if self.body is not None else []
        found: list[Spec] = []
        for specs in listed:
            found += [spec for spec in specs if spec not in found]
        return tuple(found)

    def count_tokens(self) -> int | None:
        """The tokens of all token fields; None if there is no such field."""
        return sum(column.count for column in self.tokens) if self.tokens else None

    @property
    def body_bytes(self) -> int:
        """The length of the body, as it was before filters of the whole."""
        return max((span.stop for span in self.spans()), default=0)

    @property
    def stored_bytes(self) -> int:
        """The length of the body as it is stored."""
        return self.body_bytes if self.body is None else self.body.stored

    @property
    def tables_bytes(self) -> int:
        """How much of the stored body must be there before any row: what `tables` lists.

        They come first; in a body that was filtered as a whole nothing does.
        """
        if self.body is not None:
            return 0
        return max((span.stop for span in self.tables()), default=0)

    def lead(self) -> int:
        """How much of the object to read first: the tables, and the columns if they are small.

        Small means that all of it is at most 64 KiB. What is left are the row's own bytes.
        """
        start, tables = HEAD_BYTES + len(self.header()), self.tables_bytes
        if self.body is not None:
            return start
        columns = max([tables, *(column.data.stop for column in self.columns)])
        return start + (columns if start + columns <= PAGE_BYTES else tables)


def object_bytes(layout: Layout) -> int:
    """The length of the whole object."""
    return HEAD_BYTES + len(layout.header()) + layout.stored_bytes


def preamble(layout: Layout, header: bytes, identity: Identity) -> bytes:
    """The first 64 bytes of a chunk."""
    size = HEAD_BYTES + len(header) + layout.stored_bytes
    fields = PREAMBLE.pack(
        MAGIC, VERSION, 0, len(header), size, layout.rows, identity.sequence, identity.job
    )
    return fields + struct.pack("<Q", head_checksum(fields, header))


def head_checksum(fields: Buffer, header: Buffer) -> int:
    """xxh3 of the preamble's fields and the header: of all that says what the body is."""
    hasher = xxh3_64(fields)
    hasher.update(header)
    return hasher.intdigest()


def _spans(*some: Span | None) -> list[Span]:
    return [span for span in some if span is not None]


def _entry(part: Column | BlobGroup | TokenColumn | Dictionary) -> dict[str, object]:
    """A part as a header has it: its attributes by name, but for what it does not have."""
    values = {field.name: getattr(part, field.name) for field in fields(part)}
    return {key: _json(value) for key, value in values.items() if _is_said(key, value)}


def _is_said(key: str, value: object) -> bool:
    return value is not None and not (key == "filters" and value == ())


def _json(value: object) -> object:
    if isinstance(value, Span):
        return _pair(value)
    return list(value) if isinstance(value, tuple) else value


def _body_json(body: Body) -> dict[str, object]:
    # In hex: programs that take JSON's numbers for floats would lose the end of it.
    return {"filters": list(body.filters), "raw": body.raw, "sum": f"{body.sum:016x}"}


def _pair(span: Span) -> list[int]:
    return [span.offset, span.length]


def aligned(offset: int) -> int:
    """The first multiple of 64 from here on."""
    return -(-offset // ALIGN) * ALIGN
