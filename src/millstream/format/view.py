"""Reading rows from the bytes of a chunk, each checked before it is given out."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from millstream.encryption import Encryption
from millstream.errors import CorruptData
from millstream.format.blob_view import Blobs, named
from millstream.format.ciphers import known_ciphers, shut_ciphers
from millstream.format.codecs import Shape
from millstream.format.filters import Known, refuse_unknown
from millstream.format.header import read_header
from millstream.format.part_views import Opening, PartViews, WholeBody
from millstream.format.plain import Memories, OwnMemories
from millstream.format.spans import NO_SPANS, Spans, joined, spans
from millstream.format.token_view import TokenView
from millstream.format.zstd import NAME as ZSTD
from millstream.format.zstd import known_zstd

Rows = npt.NDArray[np.int64]

# The filters that need nothing to be undone but the chunk, and ciphers, which say what they need.
BUILTIN: Known = {ZSTD: known_zstd, **known_ciphers(None)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """Rows first to last of a chunk that do not match a checksum. fields: all that it covers."""

    fields: tuple[str, ...]
    first: int
    last: int
    error: CorruptData


@dataclass(frozen=True, slots=True, kw_only=True)
class Undoing:
    """What takes chunks out of their filters.

    known: the filters that can be undone. memories: where pages, and bodies, go that were; None if
    each view has its own.
    """

    known: Known = dataclasses.field(default_factory=lambda: BUILTIN)
    memories: Memories | None = None


def undoing_with(encryption: Encryption | None, memories: Memories | None) -> Undoing:
    """What undoes all that needs no key, and that encryption."""
    return Undoing(known={**BUILTIN, **known_ciphers(encryption)}, memories=memories)


PUBLIC = Undoing()
# For who compares checksums, of what is encrypted as it is stored.
SHUT = Undoing(known={**BUILTIN, **shut_ciphers()})


class ChunkView:
    """A whole chunk in memory, or mapped; every read verifies what it reads.

    Pages of columns are verified at their first use, blobs every time. With verify=False
    nothing but the header is. The errors raised (CorruptData) say the chunk's name and the row.

    undoing: raises UnsupportedError for a filter that is not known to it.
    """

    def __init__(
        self,
        content: memoryview,
        name: str,
        *,
        verify: bool = True,
        undoing: Undoing = PUBLIC,
    ) -> None:
        self.name = name
        with named(name):
            header = read_header(content)
            if len(content) != header.size:
                raise CorruptData(f"has {len(content)} bytes, its header says {header.size}")
            refuse_unknown(header.layout.filters, undoing.known)
        self.layout, self._start = header.layout, header.body
        self._shapes = {column.field: column.shape for column in header.layout.columns}
        self._in_rows = {field for group in header.layout.groups for field in group.fields}
        opening = Opening(
            name=name,
            identity=header.identity,
            verify=verify,
            known=undoing.known,
            memories=undoing.memories or OwnMemories(),
        )
        body = content[header.body :]
        filtered = header.layout.body
        self._body: PartViews | WholeBody
        # Asked for itself where each call counts.
        self._plain: PartViews | None = None
        if filtered is None:
            self._body = self._plain = PartViews(body, header.layout, opening)
        else:
            self._body = WholeBody(body, header.layout, filtered, opening)

    @property
    def _parts(self) -> PartViews:
        return self._body.parts

    def is_column(self, field: int) -> bool:
        """Whether a field's rows lie in a column here."""
        return field in self._shapes

    def is_in_rows(self, field: int) -> bool:
        """Whether it lies row by row here, so that it has payloads."""
        return field in self._in_rows

    def take(self, field: int, rows: Rows, out: npt.NDArray[Any] | None = None) -> npt.NDArray[Any]:
        """Rows of a column, copied: (len(rows), *shape) of the storage dtype, into `out` if given.

        rows: numbers that the chunk has.
        """
        return (self._plain or self._parts).columns[field].take(rows, out)

    def cell(self, field: int, row: int) -> npt.NDArray[Any]:
        """One row of a column, (1, *shape), where it lies."""
        return (self._plain or self._parts).columns[field].cell(row)

    def shape(self, field: int) -> Shape | None:
        """The shape that all rows of a field share; None if it has no column here."""
        return self._shapes.get(field)

    def payload(self, field: int, row: int) -> memoryview:
        """One row of a field that lies row by row."""
        group, place = self._parts.groups[field]
        return group.split(group.blob(row), row)[place]

    def payloads(self, fields: Sequence[int], rows: Rows) -> list[Sequence[memoryview]]:
        """Rows of fields that lie row by row, a list a field; a blob that fields share is
        verified once."""
        groups = (self._plain or self._parts).groups
        found: dict[Blobs, list[Sequence[memoryview]]] = {}
        for field in fields:
            group, _ = groups[field]
            if group not in found:
                found[group] = group.payloads(rows)
        return [found[group][place] for group, place in map(groups.__getitem__, fields)]

    def tokens(self, field: int) -> TokenView:
        """A field of tokens; raises CorruptData if it is not stored as one."""
        if (tokens := self._parts.tokens.get(field)) is None:
            raise CorruptData(f"chunk {self.name}: the field {field} is no token column here")
        return tokens

    def array(self, field: int, row: int, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        """One row of an array field that has no column; shares the memory of the chunk."""
        if (tokens := self._parts.tokens.get(field)) is not None:
            return tokens.row(row)
        return self.arrays([self.payload(field, row)], [row], dtype)[0]

    def arrays(
        self, payloads: Sequence[memoryview], rows: Sequence[int], dtype: np.dtype[Any]
    ) -> list[npt.NDArray[Any]]:
        """The arrays in payloads that these rows have; share their memory."""
        found = []
        for payload, row in zip(payloads, rows, strict=True):
            with named(self.name, row):
                found.append(array_of_blob(payload, dtype))
        return found

    @property
    def tables_end(self) -> int:
        """Where the checksums and offsets end in the object: `spans` needs all before it."""
        return self._start + self.layout.tables_bytes

    def spans(self, fields: Iterable[int], rows: Rows) -> Spans:
        """The bytes of the object, beyond its tables, that reading these rows needs.

        rows: numbers, or for token fields alone also ranges of tokens, (n, 2). Whole pages of
        columns if pages are verified. Raises CorruptData for a blob that would lie outside the
        chunk.
        """
        if self.layout.body is not None:
            return self._start + spans([0], [self.layout.stored_bytes])
        if rows.ndim == 2:
            found = [self.tokens(field).spans(rows) for field in fields]
            return joined(np.concatenate([NO_SPANS, *found]) + self._start)
        rows, parts = np.unique(rows), self._parts
        needed = [parts.columns[f].spans(rows) for f in fields if f in parts.columns]
        groups = {parts.groups[field][0] for field in fields if field in parts.groups}
        needed += [group.spans(rows) for group in groups]
        needed += [parts.tokens[f].row_spans(rows) for f in fields if f in parts.tokens]
        return joined(np.concatenate([NO_SPANS, *needed]) + self._start)

    def problems(self) -> Iterator[Damage]:
        """All that does not match its checksum, by page of a column and by row."""
        every = range(len(self.layout.schema.fields))
        try:
            if isinstance(self._body, WholeBody) and self._body.is_shut:
                self._body.check()
                return
            parts = self._parts
        except CorruptData as error:
            last = self.layout.rows - 1
            yield Damage(fields=self._names(every), first=0, last=last, error=error)
            return
        for number, column in parts.columns.items():
            for page, bad in _failures(column.check, column.pages):
                first, last = column.rows_of(page)
                yield Damage(fields=self._names([number]), first=first, last=last, error=bad)
        for group in dict.fromkeys(view for view, _ in parts.groups.values()):
            for first, last, bad in group.problems():
                yield Damage(fields=self._names(group.fields), first=first, last=last, error=bad)
        for number, tokens in parts.tokens.items():
            for first, last, bad in tokens.problems():
                yield Damage(fields=self._names([number]), first=first, last=last, error=bad)

    def _names(self, fields: Sequence[int]) -> tuple[str, ...]:
        return tuple(self.layout.schema.fields[field].name for field in fields)


def array_of_blob(blob: memoryview, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """An array from its blob: rank, shape, elements; raises CorruptData."""
    (rank,) = struct.unpack_from("<Q", blob) if len(blob) >= 8 else (1 << 63,)
    start = 8 + 8 * rank
    if rank > 64 or start > len(blob):
        raise CorruptData(f"an array of rank {rank} in {len(blob)} bytes")
    shape = struct.unpack_from(f"<{rank}Q", blob, 8)
    if prod(shape) * dtype.itemsize != len(blob) - start:
        raise CorruptData(f"an array of shape {shape}, {dtype}, in {len(blob) - start} bytes")
    return np.frombuffer(blob[start:], dtype).reshape(shape)


def _failures(check: Callable[[int], object], count: int) -> Iterator[tuple[int, CorruptData]]:
    for index in range(count):
        try:
            check(index)
        except CorruptData as error:
            yield index, error
