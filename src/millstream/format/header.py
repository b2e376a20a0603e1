"""Reading a chunk's preamble and header: every number is checked before it is believed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from millstream.errors import CorruptData, UnsupportedError
from millstream.format.codecs.arrays import stored_dtype
from millstream.format.filters import specs_of
from millstream.format.layout import (
    HEAD_BYTES,
    MAGIC,
    MAX_HEADER_BYTES,
    MAX_ROWS,
    PREAMBLE,
    VERSION,
    BlobGroup,
    Body,
    Column,
    Dictionary,
    Identity,
    Layout,
    Span,
    Spec,
    TokenColumn,
    head_checksum,
)
from millstream.format.schema import Schema, shape_of

KEYS = {"schema", "columns", "blobs", "tokens", "dictionary", "body"}
# No filter makes more than this of one byte: who declares it wants memory, not rows.
MAX_RATIO = 32_768
MAX_DICTIONARY = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What the head of a chunk says. body: where the body starts; size: of the whole object."""

    identity: Identity
    layout: Layout
    body: int
    size: int


def read_header(head: memoryview) -> Header:
    """Reads the head of a chunk; `head` may end anywhere after the header.

    Raises CorruptData, or UnsupportedError for another version of the format.
    """
    length = header_bytes(head)
    fields, checksum = PREAMBLE.unpack_from(head), head[PREAMBLE.size : HEAD_BYTES]
    size, rows, sequence, job = fields[4:]
    text = head[HEAD_BYTES : HEAD_BYTES + length]
    if len(text) < length:
        raise CorruptData(f"cut short: a header of {length} bytes, {len(text)} of them are here")
    if head_checksum(head[: PREAMBLE.size], text).to_bytes(8, "little") != checksum:
        raise CorruptData("the header does not match its checksum")
    if not 0 < rows <= MAX_ROWS:
        raise CorruptData(f"a chunk has 1 to {MAX_ROWS} rows, this says {rows}")
    body = HEAD_BYTES + length
    if size < body:
        raise CorruptData(f"an object of {size} bytes cannot hold a header of {body}")
    return Header(
        identity=Identity(job=job, sequence=sequence),
        layout=_Parser(rows, size - body).layout(_json(bytes(text))),
        body=body,
        size=size,
    )


def header_bytes(head: memoryview) -> int:
    """The length of the header that follows the preamble."""
    if len(head) < HEAD_BYTES:
        raise CorruptData(f"cut short: {len(head)} bytes, a chunk has at least {HEAD_BYTES}")
    magic, version, flags, length = PREAMBLE.unpack_from(head)[:4]
    if magic != MAGIC:
        raise CorruptData(f"not a chunk: it starts with {bytes(magic)!r}, expected {MAGIC!r}")
    if version != VERSION or flags:
        raise UnsupportedError(
            f"a chunk of format version {version}, flags {flags}; this millstream reads version "
            f"{VERSION}, flags 0"
        )
    if length > MAX_HEADER_BYTES:
        raise CorruptData(f"a header of {length} bytes, at most {MAX_HEADER_BYTES} are allowed")
    return int(length)


def _json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CorruptData(f"the header is not JSON: {error}") from None


class _Parser:
    """Turns the header's JSON into a layout of `rows` rows within a body of `limit` bytes."""

    def __init__(self, rows: int, limit: int) -> None:
        self._rows, self._limit = rows, limit

    def layout(self, value: Any) -> Layout:
        try:
            return self._layout(value)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            if isinstance(error, CorruptData):
                raise
            raise CorruptData(f"the header is malformed: {error!r}") from None

    def _layout(self, value: Any) -> Layout:
        if unknown := sorted(value.keys() - KEYS):
            raise UnsupportedError(f"the header has {unknown[:5]}, which this millstream lacks")
        schema = Schema.from_json(value["schema"])
        body = self._body(value["body"]) if "body" in value else None
        layout = Layout(
            schema=schema,
            rows=self._rows,
            columns=tuple(self._column(column) for column in value["columns"]),
            groups=tuple(self._group(group) for group in value["blobs"]),
            tokens=tuple(self._token_column(column) for column in value.get("tokens", [])),
            dictionary=self._dictionary(value["dictionary"]) if "dictionary" in value else None,
            body=body,
        )
        stored = [column.field for column in layout.columns]
        stored += [column.field for column in layout.tokens]
        stored += [number for group in layout.groups for number in group.fields]
        if sorted(stored) != list(range(len(schema.fields))):
            raise CorruptData(
                f"a chunk of {len(schema.fields)} fields stores {sorted(stored)[:20]}"
            )
        return layout

    def _span(self, value: Any, length: int | None = None) -> Span:
        offset, stored = (_whole(number) for number in value)
        if offset + stored > self._limit:
            raise CorruptData(
                f"bytes {offset} to {offset + stored} of a body that has {self._limit}"
            )
        if length is not None and stored != length:
            raise CorruptData(f"a table of {stored} bytes, expected {length}")
        return Span(offset, stored)

    def _body(self, value: Any) -> Body:
        """What the body was before it was filtered; all spans are within that."""
        stored, raw, checksum = self._limit, _whole(value["raw"]), int(value["sum"], 16)
        self._limit = _believed(raw, stored)
        filters = specs_of(value["filters"])
        if not filters or not 0 <= checksum < 1 << 64:
            raise CorruptData("a filtered body without filters, or without a checksum")
        return Body(filters=filters, raw=raw, stored=stored, sum=checksum)

    def _dictionary(self, value: Any) -> Dictionary:
        found = Dictionary(sum=self._span(value["sum"], 8), data=self._span(value["data"]))
        if found.data.length > MAX_DICTIONARY:
            raise CorruptData(f"a dictionary of {found.data.length} bytes")
        return found

    def _frames(self, value: Any, data: Span, raw: int, pages: int) -> Frames:
        """The filters of pages, and where these lie; nothing for a part that has no filters."""
        filters = specs_of(value.get("filters", ()))
        if not filters:
            if data.length != raw or "frames" in value:
                raise CorruptData(f"{data.length} bytes where {raw} are said to be, unfiltered")
            return (), None
        _believed(raw, data.length)
        return filters, self._span(value["frames"], 8 * (pages + 1))

    def _column(self, value: Any) -> Column:
        dtype, shape, page = str(value["dtype"]), shape_of(value["shape"]), _whole(value["page"])
        itemsize = stored_dtype(dtype).itemsize * prod(shape)
        pages = -(-self._rows // max(page, 1)) if itemsize else 0
        if page < 1:
            raise CorruptData("a page of a column has at least one row")
        data = self._span(value["data"])
        filters, frames = self._frames(value, data, self._rows * itemsize, pages)
        return Column(
            field=_whole(value["field"]),
            dtype=dtype,
            shape=shape,
            page=page,
            sums=self._span(value["sums"], 8 * pages),
            data=data,
            filters=filters,
            frames=frames,
        )

    def _group(self, value: Any) -> BlobGroup:
        fields = tuple(_whole(field) for field in value["fields"])
        if not fields:
            raise CorruptData("a group of blobs without a field")
        page, raw, frames = value.get("page"), value.get("raw"), None
        data, filters = self._span(value["data"]), specs_of(value.get("filters", ()))
        sums, raw = 8 * self._rows, None if raw is None else _whole(raw)
        if page is not None:
            pages = _pages(raw, page)
            filters, frames = self._frames(value, data, raw or 0, pages)
            sums = 8 + 8 * pages
        return BlobGroup(
            fields=fields,
            offsets=self._span(value["offsets"], 8 * (self._rows + 1)),
            sums=self._span(value["sums"], sums),
            data=data,
            filters=filters,
            page=page,
            raw=raw,
            frames=frames,
        )

    def _token_column(self, value: Any) -> TokenColumn:
        dtype, page = str(value["dtype"]), value["page"]
        data, joins = self._span(value["data"]), value["joins"]
        raw = _whole(value.get("raw", data.length))
        itemsize, pages = stored_dtype(dtype).itemsize, _pages(raw, page)
        if not itemsize or raw % itemsize or page % itemsize or type(joins) is not bool:
            raise CorruptData(f"{raw} bytes of {dtype} in pages of {page}, joins {joins!r:.20}")
        filters, frames = self._frames(value, data, raw, pages)
        return TokenColumn(
            field=_whole(value["field"]),
            dtype=dtype,
            page=page,
            offsets=self._span(value["offsets"], 8 * (self._rows + 1)),
            sums=self._span(value["sums"], 8 + 8 * pages),
            data=data,
            joins=joins,
            filters=filters,
            raw=raw if filters else None,
            frames=frames,
        )


Frames = tuple[tuple[Spec, ...], Span | None]


def _pages(raw: Any, page: Any) -> int:
    if _whole(page) < 1:
        raise CorruptData("a page has at least one byte")
    return -(-_whole(raw) // int(page))


def _believed(raw: int, stored: int) -> int:
    if raw > MAX_RATIO * stored:
        raise CorruptData(f"{stored:,} bytes cannot stand for {raw:,}")
    return raw


def _whole(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise CorruptData(f"not a length or an offset: {str(value)[:40]!r}")
    return value


def np_u64(body: memoryview, span: Span) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """A table of little-endian u64 in the body, as an array that shares its memory."""
    return np.frombuffer(body[span.offset : span.stop], dtype="<u8")
