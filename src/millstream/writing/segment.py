"""Segments: the encoded rows of one task, kept in a file until they are in chunks.

A private format of one job, read only by the version that wrote it: the buffers of the parts
end to end, a JSON index, its length (u64), and the xxh3 of all before that (u64). Of files that
are inputs of the job it has the names and states alone. In the segments of an encrypted job each
buffer is encrypted, and so is the index.

An outline is what a segment holds besides the bytes of rows: how many these are of each, and the
index. It is the number of its pieces (u64), where each lies in the segment (start and stop, u64),
and the pieces.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from xxhash import xxh3_64

from millstream.encryption import Cipher
from millstream.format import Files, Part, Schema
from millstream.store.local import map_file, storage_errors

END = struct.Struct("<QQ")
COUNT = struct.Struct("<Q")

Span = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """An input whose function raised, with on_error="skip".

    Attributes:
        input: Its index.
        error: What was raised, in one line.
        kept: How many samples it had yielded before; they are in the dataset.
    """

    input: int
    error: str
    kept: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """What one task made. first_input: the index of the input that gave the first row, or None.

    outline: the bytes of the outline, if that is all there is of it here.
    """

    parts: tuple[Part, ...]
    skipped: tuple[Skipped, ...]
    first_input: int | None
    outline: int | None = None

    @property
    def schema(self) -> Schema | None:
        """The schema of the rows; None if there are none."""
        return self.parts[0].schema if self.parts else None

    @property
    def rows(self) -> int:
        """How many there are."""
        return sum(part.rows for part in self.parts)

    @property
    def nbytes(self) -> int:
        """The bytes of all rows."""
        arrays = sum(len(values.data) for part in self.parts for values in part.arrays.values())
        arrays += sum(len(values.data) for part in self.parts for values in part.tokens.values())
        return arrays + sum(int(part.blobs.sizes.sum()) for part in self.parts if part.blobs)

    @property
    def held(self) -> int:
        """How many bytes are kept here: of rows those in the segment, or else of the outline."""
        if self.outline is not None:
            return self.outline
        files = [part.blobs.files for part in self.parts if part.blobs]
        return self.nbytes - sum(int(some.sizes.sum()) for some in files)


def bound_to(name: str, start: int) -> bytes:
    """What the ciphertext of a buffer is bound to: the segment, and where in it it lies."""
    return f"{name}:{start}".encode()


class SegmentWriter:
    """Writes a segment part by part into a file, which is removed unless it was moved away.

    name: of the segment, which what is encrypted in it is bound to.
    """

    def __init__(self, path: Path, name: str, cipher: Cipher | None = None) -> None:
        self.path, self.name, self._cipher = path, name, cipher
        self._at = 0
        self._sum = xxh3_64()
        self._parts: list[dict[str, Any]] = []
        self._outline: list[Span] = []
        self._schema: Schema | None = None
        with storage_errors(path):
            self._file: BinaryIO = path.open("wb")

    def __enter__(self) -> SegmentWriter:
        return self

    def __exit__(self, *exc: object) -> None:
        self._file.close()
        self.path.unlink(missing_ok=True)

    def add(self, part: Part) -> None:
        """Writes one more part of the same schema."""
        self._schema = part.schema
        arrays = {
            str(field): {"dtype": a.dtype, "shapes": a.shapes, "data": self._put_rows(a.data)}
            for field, a in part.arrays.items()
        }
        blobs = part.blobs and {
            "sizes": self._put(part.blobs.sizes),
            "sums": self._put(part.blobs.sums),
            "data": self._put_rows(part.blobs.data),
            "files": self._put_files(part.blobs.files),
        }
        tokens = {
            str(field): {
                "dtype": some.dtype,
                "counts": self._put(some.counts),
                "joins": self._put(some.joins),
                "data": self._put_rows(some.data),
            }
            for field, some in part.tokens.items()
        }
        self._parts.append({"rows": part.rows, "arrays": arrays, "blobs": blobs, "tokens": tokens})

    def _put_files(self, files: Files) -> dict[str, Any] | None:
        if not files:
            return None
        names = b"\0".join(map(os.fsencode, files.paths))  # which holds none
        return {
            "rows": self._put(files.rows),
            "starts": self._put(files.starts),
            "sizes": self._put(files.sizes),
            "mtimes": self._put(files.mtimes),
            "paths": self._put(np.frombuffer(names, np.uint8)),
        }

    def _put(self, array: np.ndarray[Any, Any]) -> Span:
        """A buffer that belongs to the outline; returns its start and length."""
        start, length = self._put_rows(array)
        self._outline.append((start, start + length))
        return start, length

    def _put_rows(self, array: np.ndarray[Any, Any]) -> Span:
        padding = bytes(-self._at % 8)
        start = self._at + len(padding)
        content = self._sealed(array.view(np.uint8).data, start)
        with storage_errors(self.path):
            self._write(padding)
            self._write(content)
        return start, len(content)

    def _sealed(self, content: bytes | memoryview, start: int) -> bytes | memoryview:
        if self._cipher is None:
            return content
        return self._cipher.seal(content, bound_to(self.name, start))

    def _write(self, content: bytes | memoryview) -> None:
        self._file.write(content)
        self._sum.update(content)
        self._at += len(content)

    def finish(self, skipped: Sequence[Skipped], first_input: int | None) -> None:
        """Writes the index: now the file is a segment."""
        index = {
            "schema": None if self._schema is None else json.dumps(self._schema.to_json()),
            "parts": self._parts,
            "skipped": [asdict(some) for some in skipped],
            "first_input": first_input,
        }
        start = self._at
        text = self._sealed(json.dumps(index).encode(), start)
        with storage_errors(self.path):
            self._write(text)
            self._file.write(END.pack(len(text), self._sum.intdigest()))
            self._file.close()
        self._outline.append((start, self._at + END.size))

    def outline(self) -> bytes:
        """The outline of the finished segment."""
        content = map_file(self.path)
        spans = np.array(self._outline, "<u8").tobytes()
        pieces = (content[start:stop] for start, stop in self._outline)
        return b"".join((COUNT.pack(len(self._outline)), spans, *pieces))
