"""Reads segments and their outlines; segment.py says what these are."""

from __future__ import annotations

import json
import os
from bisect import bisect_right
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from xxhash import xxh3_64_intdigest

from millstream.encryption import Cipher
from millstream.encryption.library import NONCE_BYTES, TAG_BYTES
from millstream.errors import CannotDecrypt
from millstream.format import Arrays, Blobs, Files, Part, Schema, Tokens
from millstream.format.part import NO_FILES
from millstream.store.local import map_file
from millstream.writing.segment import COUNT, END, Segment, Skipped, Span, bound_to

# How much longer a buffer is when it is encrypted.
SEALED_BYTES = NONCE_BYTES + TAG_BYTES

# Some bytes of a segment, and where they start.
Piece = tuple[int, memoryview]


def has_segment(path: Path, cipher: Cipher | None = None) -> bool:
    """Whether an earlier run left a segment here, and all of it is what was written.

    And whether it can be read: not if it is encrypted with another key.
    """
    try:
        content = map_file(path)
    except FileNotFoundError:
        return False
    end = len(content) - END.size
    if end < 0:
        return False
    _, checksum = END.unpack(content[end:])
    if xxh3_64_intdigest(content[:end]) != int(checksum):
        return False
    try:
        _whole(path, cipher).index()
    except CannotDecrypt:
        return False
    return True


def read_segment(path: Path, cipher: Cipher | None = None, opened: Container[int] = ()) -> Segment:
    """A segment whose parts are mapped, not read.

    opened: the numbers of the parts of an encrypted one whose rows are wanted; of the others there
    is only how many bytes they have.
    """
    return _whole(path, cipher).segment(opened)


class Outline:
    """What is known of a segment of which only the outline is at hand."""

    def __init__(self, name: str, outline: bytes, cipher: Cipher | None = None) -> None:
        self._pieces, self._nbytes = _pieces(outline), len(outline)
        last, content = self._pieces[-1]
        self._buffers = _Buffers(
            name=name,
            end=last + len(content),
            take=_taking(self._pieces, []),
            cipher=cipher,
            has_rows=False,
        )

    def segment(self) -> Segment:
        """All but the rows; of these there is only how many bytes they have."""
        return replace(self._buffers.segment(), outline=self._nbytes)

    def spans(self, parts: Iterable[int]) -> list[Span]:
        """Where in the segment the rows of some parts lie: one span a part."""
        index = self._buffers.index()
        return [_rows_of(index["parts"][part]) for part in parts]

    def join(self, rows: Sequence[Piece], opened: Container[int]) -> Segment:
        """The segment with the rows of the parts `opened`; rows: the bytes of their spans."""
        some = sorted((piece for piece in rows if len(piece[1])), key=_start)
        whole = replace(self._buffers, take=_taking(self._pieces, some))
        return whole.segment(opened)


def _pieces(outline: bytes) -> list[Piece]:
    """The pieces of an outline; the last one ends where the segment does."""
    content = memoryview(outline)
    (count,) = COUNT.unpack_from(content)
    at = COUNT.size + 16 * count
    pieces = []
    for start, stop in np.frombuffer(content[COUNT.size : at], "<u8").reshape(-1, 2).tolist():
        pieces.append((start, content[at : at + stop - start]))
        at += stop - start
    return pieces


def _taking(outline: Sequence[Piece], rows: Sequence[Piece]) -> Callable[[int, int], memoryview]:
    """Finds bytes of a segment in its outline, or else in spans of rows, which are sorted."""
    buffers, starts, (tail, _) = dict(outline), [start for start, _ in rows], outline[-1]

    def take(start: int, stop: int) -> memoryview:
        first = min(start, tail)
        found = buffers.get(first, memoryview(b""))
        if stop - first > len(found):
            first, found = rows[bisect_right(starts, start) - 1]
        return found[start - first : stop - first]

    return take


def _start(piece: Piece) -> int:
    return piece[0]


def _rows_of(part: dict[str, Any]) -> Span:
    blobs = () if part["blobs"] is None else (part["blobs"],)
    spans = [some["data"] for some in (*part["arrays"].values(), *part["tokens"].values(), *blobs)]
    starts, stops = [start for start, _ in spans], [start + length for start, length in spans]
    return min(starts, default=0), max(stops, default=0)


def _whole(path: Path, cipher: Cipher | None) -> _Buffers:
    content = map_file(path)
    return _Buffers(
        name=path.name,
        end=len(content),
        take=lambda start, stop: content[start:stop],
        cipher=cipher,
        has_rows=cipher is None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Buffers:
    """The buffers of a segment. take: the bytes from start to stop, of `end` in all. has_rows:
    whether those of rows are there, and may be decrypted."""

    name: str
    end: int
    take: Callable[[int, int], bytes | memoryview]
    cipher: Cipher | None
    has_rows: bool

    def segment(self, opened: Container[int] = ()) -> Segment:
        index = self.index()
        schema = index["schema"] and _schema(index["schema"])
        has_rows = replace(self, has_rows=True)
        return Segment(
            parts=tuple(
                _part(has_rows if number in opened else self, schema, part)
                for number, part in enumerate(index["parts"])
            ),
            skipped=tuple(Skipped(**some) for some in index["skipped"]),
            first_input=index["first_input"],
        )

    def index(self) -> Any:
        end = self.end - END.size
        length, _ = END.unpack(self.take(end, self.end))
        return json.loads(bytes(self._get(end - length, end)))

    def array(self, span: Span, dtype: str) -> np.ndarray[Any, Any]:
        return np.frombuffer(self._get(span[0], span[0] + span[1]), dtype)

    def rows(self, span: Span) -> np.ndarray[Any, Any]:
        if self.has_rows:
            return self.array(span, "u1")
        # As long as they are, and in no memory.
        length = span[1] - (0 if self.cipher is None else SEALED_BYTES)
        return np.broadcast_to(np.zeros(1, np.uint8), length)

    def _get(self, start: int, stop: int) -> bytes | memoryview:
        content = self.take(start, stop)
        return (
            content
            if self.cipher is None
            else self.cipher.open(content, bound_to(self.name, start))
        )


@lru_cache(maxsize=8)
def _schema(text: str) -> Schema:
    """One for all segments of a job, which have the same."""
    return Schema.from_json(json.loads(text))


def _part(buffers: _Buffers, schema: Schema, value: dict[str, Any]) -> Part:
    get = buffers.array

    def files(some: dict[str, tuple[int, int]]) -> Files:
        counts = {name: get(some[name], "i8") for name in ("rows", "starts", "sizes", "mtimes")}
        names = get(some["paths"], "u1").tobytes().split(b"\0")
        return Files(**counts, paths=tuple(map(os.fsdecode, names)))

    arrays = {
        int(field): Arrays(
            rows=value["rows"],
            dtype=some["dtype"],
            shapes=tuple(map(tuple, some["shapes"])),
            data=buffers.rows(some["data"]),
        )
        for field, some in value["arrays"].items()
    }
    blobs = value["blobs"] and Blobs(
        sizes=get(value["blobs"]["sizes"], "i8"),
        sums=get(value["blobs"]["sums"], "u8"),
        data=buffers.rows(value["blobs"]["data"]),
        files=NO_FILES if value["blobs"]["files"] is None else files(value["blobs"]["files"]),
    )
    tokens = {
        int(field): Tokens(
            dtype=some["dtype"],
            counts=get(some["counts"], "i8"),
            joins=get(some["joins"], "?"),
            data=buffers.rows(some["data"]),
        )
        for field, some in value["tokens"].items()
    }
    return Part(schema=schema, rows=value["rows"], arrays=arrays, blobs=blobs, tokens=tokens)
