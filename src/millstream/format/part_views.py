"""The columns, groups and tokens of a chunk, over a body that is out of its own filters."""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
from xxhash import xxh3_64_intdigest

from millstream.errors import CorruptData
from millstream.format.blob_view import Blobs, PagedBlobs, RowBlobs, named
from millstream.format.column_view import ColumnView
from millstream.format.filters import BODY, Known, Setting, known_chain
from millstream.format.header import np_u64
from millstream.format.layout import BlobGroup, Body, Identity, Layout, Span
from millstream.format.plain import (
    Current,
    Key,
    Memories,
    Memory,
    Pages,
    Region,
    StoredPages,
    paged_parts,
    regions,
)
from millstream.format.token_view import TokenView


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """How the filters of a chunk are undone, and where to."""

    name: str
    identity: Identity
    verify: bool
    known: Known
    memories: Memories


class PartViews:
    """Those of a body. Raises CorruptData."""

    def __init__(self, body: memoryview, layout: Layout, opening: Opening) -> None:
        with named(opening.name):
            setting = Setting(
                identity=opening.identity, dictionary=_dictionary(body, layout, opening.verify)
            )
        name, verify = opening.name, opening.verify
        pages = _pages(body, layout, opening, setting)
        self.columns = {
            column.field: ColumnView(
                body, layout, column, name=name, verify=verify, pages=pages.get(("columns", n))
            )
            for n, column in enumerate(layout.columns)
        }
        self.groups = {
            field: (view, place)
            for view in [
                _blobs(body, group, index, opening, setting, pages.get(("blobs", index)))
                for index, group in enumerate(layout.groups)
            ]
            for place, field in enumerate(view.fields)
        }
        self.tokens = {
            column.field: TokenView(
                body, column, name=name, verify=verify, pages=pages.get(("tokens", n))
            )
            for n, column in enumerate(layout.tokens)
        }

    @property
    def parts(self) -> PartViews:
        """These, as `WholeBody` gives them."""
        return self


def _dictionary(body: memoryview, layout: Layout, verify: bool) -> bytes | None:
    if (found := layout.dictionary) is None:
        return None
    content = bytes(body[found.data.offset : found.data.stop])
    if verify and xxh3_64_intdigest(content) != np_u64(body, found.sum)[0]:
        raise CorruptData(
            "its dictionary does not match its checksum; fetch or write this chunk again"
        )
    return content


def _pages(
    body: memoryview, layout: Layout, opening: Opening, setting: Setting
) -> dict[Key, Pages]:
    """The parts whose pages were filtered; all of a chunk share one memory."""
    parts = dict(paged_parts(layout))
    if not parts:
        return {}
    places, size = regions(layout)
    memory = Current(opening.memories, f"{opening.name} pages", size)
    made = {}
    for key, part in parts.items():
        # The first checksum of the others is that of their offsets.
        before = 0 if key[0] == "columns" else 1
        stored = StoredPages(
            data=body[part.data.offset : part.data.stop],
            frames=np_u64(body, part.frames or Span(0, 0)),
            sums=np_u64(body, part.sums)[before:] if opening.verify else None,
            chain=known_chain(part.filters, opening.known, setting),
            key=key,
        )
        made[key] = Pages(places[key], stored, memory, opening.memories)
    return made


def _blobs(
    body: memoryview,
    group: BlobGroup,
    index: int,
    opening: Opening,
    setting: Setting,
    pages: Pages | None,
) -> Blobs:
    name, verify = opening.name, opening.verify
    if pages is not None:
        return PagedBlobs(body, group, name=name, verify=verify, pages=pages)
    with named(name):
        chain = known_chain(group.filters, opening.known, setting)
    return RowBlobs(
        body,
        group,
        name=name,
        verify=verify,
        chain=chain,
        index=index,
        opened=opening.memories.opened,
    )


class WholeBody:
    """A body that was filtered as a whole: one page, which is opened at the first use."""

    def __init__(self, stored: memoryview, layout: Layout, body: Body, opening: Opening) -> None:
        self._layout, self._opening = layout, opening
        with named(opening.name):
            setting = Setting(identity=opening.identity)
            chain = known_chain(body.filters, opening.known, setting)
        pages = StoredPages(
            data=stored,
            frames=np.array([0, body.stored], np.uint64),
            sums=np.array([body.sum], np.uint64) if opening.verify else None,
            chain=chain,
            key=(BODY.part, BODY.entry),
        )
        self.is_shut = chain.is_shut
        region = Region(0, max(body.raw, 1), Span(_FLAG_BYTES, body.raw))
        self._memory = Current(opening.memories, f"{opening.name} body", _FLAG_BYTES + body.raw)
        self._pages = Pages(region, pages, self._memory, opening.memories)
        # As long as the memory is kept, and no longer: they would keep it.
        self._parts: WeakKeyDictionary[Memory, PartViews] = WeakKeyDictionary()

    @property
    def parts(self) -> PartViews:
        """The parts, in memory that others have too."""
        memory = self._memory()
        if (parts := self._parts.get(memory)) is None:
            content = self._pages.content(np.zeros(1, np.int64), self._place)
            parts = self._parts[memory] = PartViews(content.data, self._layout, self._opening)
        return parts

    def check(self) -> None:
        """Raises CorruptData unless what is stored is what was written."""
        self._pages.check(0, self._place)

    def _place(self, page: int) -> str:
        return f"chunk {self._opening.name}: its body"


# Before the body: the byte that says it is there, so that all of it is aligned as it was.
_FLAG_BYTES = 64
