"""Filters on writing: a chunk's parts as they are laid out -> as they are stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt
from xxhash import xxh3_64_intdigest

from millstream.format.division import Group, divided
from millstream.format.filters import BODY, Chain, MakeFilter, Setting, Unit, make_chain
from millstream.format.layout import (
    BlobGroup,
    Body,
    Buffer,
    Column,
    Dictionary,
    Identity,
    Layout,
    Span,
    Spec,
    TokenColumn,
)
from millstream.format.placing import placed

Array = npt.NDArray[Any]
# What lies in each span, in pieces.
Sections = Mapping[Span, Sequence[Array]]
# What is not smaller than this share of what it was is stored as it is, if it may be.
WORTH = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Packing:
    """What is done to each chunk that is written; travels to workers.

    rows: to the blob of each row, pages: to each page of columns and tokens, body: to all of it,
    last. blob_page: None if a row's blob is filtered alone, by `rows`; else blobs are, in pages of
    so many bytes, by `pages`. whole_rows: whether all fields of a row are one blob, so that there
    are no columns. trains: whether the filters of rows gain from a dictionary, which is made from
    the first chunk's rows. dictionary: that, when it is made.
    """

    rows: tuple[MakeFilter, ...] = ()
    pages: tuple[MakeFilter, ...] = ()
    body: tuple[MakeFilter, ...] = ()
    blob_page: int | None = None
    whole_rows: bool = False
    trains: bool = False
    dictionary: bytes | None = None

    @property
    def is_plain(self) -> bool:
        """Whether nothing is done."""
        return not (self.rows or self.pages or self.body)


PLAIN = Packing()


E = TypeVar("E", Column, BlobGroup, TokenColumn)


@dataclass(frozen=True, slots=True)
class _Part(Generic[E]):
    """A part whose spans have lengths, and no places yet; what lies in each, by its name."""

    entry: E
    content: Mapping[str, Sequence[Array]]


def packed(
    layout: Layout, sections: Sections, packing: Packing, identity: Identity
) -> tuple[Layout, Sections]:
    """A chunk's parts after the filters of rows and pages."""
    setting = Setting(identity=identity, dictionary=packing.dictionary)
    pages, rows = make_chain(packing.pages, setting), make_chain(packing.rows, setting)
    columns = [
        _column(_Part(column, _content(column, sections)), Unit("columns", n), pages)
        for n, column in enumerate(layout.columns)
    ]
    blobs = [
        _blobs(group, Unit("blobs", n), rows, pages, packing.blob_page)
        for n, group in enumerate(groups_of(layout, sections, packing))
    ]
    tokens = [
        _run(_Part(some, _content(some, sections)), some.page, Unit("tokens", n), pages)
        for n, some in enumerate(layout.tokens)
    ]
    return _placed(layout, columns, blobs, tokens, packing.dictionary)


def groups_of(layout: Layout, sections: Sections, packing: Packing) -> list[Group]:
    """The groups of a chunk; what may be stored without filters, and should, apart."""
    setting = Setting(identity=Identity(job=bytes(16), sequence=0))
    chain = make_chain(packing.rows if packing.blob_page is None else packing.pages, setting)
    found: list[Group] = []
    for group in layout.groups:
        one = Group(
            fields=group.fields,
            ends=np.concatenate(sections[group.offsets]).astype(np.int64),
            data=_joined(sections.get(group.data, [])),
            is_packed=bool(chain.filters),
        )
        if chain.filters and chain.is_optional:
            found += divided(one, layout.schema, lambda pieces: _shrink(chain, pieces))
        else:
            found.append(one)
    return found


def _shrink(chain: Chain, pieces: Sequence[bytes]) -> bool:
    stored = sum(len(chain.apply(piece, Unit("blobs"))) for piece in pieces)
    return stored <= WORTH * sum(map(len, pieces))


def _content(entry: Column | TokenColumn, sections: Sections) -> dict[str, Sequence[Array]]:
    names = ("sums", "data") if isinstance(entry, Column) else ("offsets", "sums", "data")
    return {name: sections.get(getattr(entry, name), []) for name in names}


def _blobs(
    group: Group, unit: Unit, rows: Chain, pages: Chain, blob_page: int | None
) -> _Part[BlobGroup]:
    plain = _group(group, group.blobs(), group.data)
    if not group.is_packed:
        return plain
    if blob_page is not None:
        return _run(plain, blob_page, unit, pages)
    return _in_rows(group, unit, rows) or plain


def _group(
    group: Group,
    blobs: Sequence[Buffer],
    data: Buffer,
    filters: tuple[Spec, ...] = (),
    raw: int | None = None,
) -> _Part[BlobGroup]:
    """A group that stores these blobs, which are `data`."""
    offsets, sums = _ends(blobs).astype("<u8"), _sums(blobs)
    entry = BlobGroup(
        fields=group.fields,
        offsets=Span(0, offsets.nbytes),
        sums=Span(0, sums.nbytes),
        data=Span(0, len(data)),
        filters=filters,
        raw=raw,
    )
    held = [np.frombuffer(data, np.uint8)]
    return _Part(entry, {"offsets": [offsets], "sums": [sums], "data": held})


def _in_rows(group: Group, unit: Unit, chain: Chain) -> _Part[BlobGroup] | None:
    """Each blob filtered alone; None if that is not worth it."""
    stored = [
        chain.apply(blob, Unit("blobs", unit.entry, row)) for row, blob in enumerate(group.blobs())
    ]
    data, raw = b"".join(stored), len(group.data)
    if not chain.is_optional:
        return _group(group, stored, data, chain.specs)
    if len(data) > WORTH * raw or not raw:
        return None
    return _group(group, stored, data, chain.specs, raw)


@dataclass(frozen=True, slots=True)
class _Framed:
    """Pages after their filters."""

    frames: Array
    sums: Array
    data: Array


def _framed(raw: memoryview, page: int, unit: Unit, chain: Chain) -> _Framed | None:
    """Each page filtered alone; None if that is not worth it."""
    if not chain.filters or not raw:
        return None
    stored = [
        chain.apply(raw[at : at + page], unit._replace(number=number))
        for number, at in enumerate(range(0, len(raw), page))
    ]
    frames, data = _ends(stored).astype("<u8"), np.frombuffer(b"".join(stored), np.uint8)
    if chain.is_optional and len(data) + frames.nbytes > WORTH * len(raw):
        return None
    return _Framed(frames, _sums(stored), data)


def _column(part: _Part[Column], unit: Unit, chain: Chain) -> _Part[Column]:
    column = part.entry
    found = _framed(_joined(part.content["data"]), column.page * column.itemsize, unit, chain)
    if found is None:
        return part
    entry = replace(
        column,
        filters=chain.specs,
        frames=Span(0, found.frames.nbytes),
        data=Span(0, len(found.data)),
    )
    return _Part(entry, {"sums": [found.sums], "frames": [found.frames], "data": [found.data]})


Run = TypeVar("Run", BlobGroup, TokenColumn)


def _run(part: _Part[Run], page: int, unit: Unit, chain: Chain) -> _Part[Run]:
    """A part whose rows have offsets, in pages of so many bytes."""
    raw = _joined(part.content["data"])
    found = _framed(raw, page, unit, chain)
    if found is None:
        return part
    offsets = np.concatenate(part.content["offsets"]).astype("<u8")
    of_offsets = np.array([xxh3_64_intdigest(offsets.data)], "<u8")
    sums = np.concatenate([of_offsets, found.sums])
    entry = replace(
        part.entry,
        page=page,
        raw=len(raw),
        filters=chain.specs,
        frames=Span(0, found.frames.nbytes),
        sums=Span(0, sums.nbytes),
        data=Span(0, len(found.data)),
    )
    content = {"offsets": [offsets], "sums": [sums], "frames": [found.frames], "data": [found.data]}
    return _Part(entry, content)


def _placed(
    layout: Layout,
    columns: Sequence[_Part[Column]],
    blobs: Sequence[_Part[BlobGroup]],
    tokens: Sequence[_Part[TokenColumn]],
    dictionary: bytes | None,
) -> tuple[Layout, Sections]:
    """Gives all parts their places."""
    uses = any(spec.get("dictionary") for part in blobs for spec in part.entry.filters)
    held = dictionary if uses else None
    moved = placed(
        replace(
            layout,
            columns=tuple(part.entry for part in columns),
            groups=tuple(part.entry for part in blobs),
            tokens=tuple(part.entry for part in tokens),
            dictionary=None
            if held is None
            else Dictionary(sum=Span(0, 8), data=Span(0, len(held))),
        )
    )
    entries = [*moved.columns, *moved.groups, *moved.tokens]
    contents = [part.content for part in columns]
    contents += [part.content for part in blobs]
    contents += [part.content for part in tokens]
    sections: dict[Span, Sequence[Array]] = {}
    for entry, content in zip(entries, contents, strict=True):
        sections.update({getattr(entry, name): some for name, some in content.items()})
    if moved.dictionary is not None and held is not None:
        sections[moved.dictionary.sum] = [_sums([held])]
        sections[moved.dictionary.data] = [np.frombuffer(held, np.uint8)]
    return moved, sections


def pack_body(
    layout: Layout, pieces: Sequence[memoryview], packing: Packing, identity: Identity
) -> tuple[Layout, Sequence[memoryview]]:
    """The whole body after its filters, if it has any. pieces: of the body."""
    chain = make_chain(packing.body, Setting(identity=identity))
    if not chain.filters:
        return layout, pieces
    raw = b"".join(pieces)
    stored = chain.apply(raw, BODY)
    if chain.is_optional and len(stored) > WORTH * len(raw):
        return layout, pieces
    checksum = xxh3_64_intdigest(stored)
    body = Body(filters=chain.specs, raw=len(raw), stored=len(stored), sum=checksum)
    return replace(layout, body=body), [memoryview(stored)]


def _joined(pieces: Sequence[Array]) -> memoryview:
    views = [piece.view(np.uint8).reshape(-1).data for piece in pieces]
    return views[0] if len(views) == 1 else memoryview(b"".join(views))


def _sums(pieces: Sequence[Buffer]) -> npt.NDArray[np.uint64]:
    return np.fromiter(map(xxh3_64_intdigest, pieces), "<u8", len(pieces))


def _ends(pieces: Sequence[Buffer]) -> npt.NDArray[np.int64]:
    return np.cumsum([0, *map(len, pieces)], dtype=np.int64)
