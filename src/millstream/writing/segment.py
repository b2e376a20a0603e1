"""Segments: the encoded rows of one task, kept in a file until they are in chunks.

A private format of one job, read only by the version that wrote it: the buffers of the parts
end to end, a JSON index, its length (u64), and the xxh3 of all before that (u64). Of files that
are inputs of the job it has the names and states alone. A segment has its name only once it is
whole, as far as a kill goes; it is not synced to the disk, so after a power cut the checksum
decides. In the segments of an encrypted job each buffer is encrypted, and so is the index.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Container, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from xxhash import xxh3_64, xxh3_64_intdigest

from millstream.encryption import Cipher
from millstream.encryption.library import NONCE_BYTES, TAG_BYTES
from millstream.errors import CannotDecrypt
from millstream.format import Arrays, Blobs, Files, Part, Schema, Tokens
from millstream.format.part import NO_FILES
from millstream.store.local import map_file, storage_errors

_END = struct.Struct("<QQ")
# How much longer a buffer is when it is encrypted.
SEALED_BYTES = NONCE_BYTES + TAG_BYTES


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
    """What one task made. first_input: the index of the input that gave the first row, or None."""

    parts: tuple[Part, ...]
    skipped: tuple[Skipped, ...]
    first_input: int | None

    @property
    def schema(self) -> Schema | None:
        """The schema of the rows; None if there are none."""
        return self.parts[0].schema if self.parts else None

    @property
    def nbytes(self) -> int:
        """The bytes of all rows."""
        arrays = sum(len(values.data) for part in self.parts for values in part.arrays.values())
        arrays += sum(len(values.data) for part in self.parts for values in part.tokens.values())
        return arrays + sum(int(part.blobs.sizes.sum()) for part in self.parts if part.blobs)

    @property
    def held(self) -> int:
        """Those of them that lie in the segment."""
        files = [part.blobs.files for part in self.parts if part.blobs]
        return self.nbytes - sum(int(some.sizes.sum()) for some in files)


class SegmentWriter:
    """Writes a segment part by part under a temporary name; `finish` gives it its own."""

    def __init__(self, temporary: Path, final: Path, cipher: Cipher | None = None) -> None:
        self._temporary, self._final, self._cipher = temporary, final, cipher
        self._at = 0
        self._sum = xxh3_64()
        self._parts: list[dict[str, Any]] = []
        self._schema: Schema | None = None
        with storage_errors(temporary):
            self._file: BinaryIO = temporary.open("wb")

    def __enter__(self) -> SegmentWriter:
        return self

    def __exit__(self, *exc: object) -> None:
        self._file.close()
        self._temporary.unlink(missing_ok=True)

    def add(self, part: Part) -> None:
        """Writes one more part of the same schema."""
        self._schema = part.schema
        arrays = {
            str(field): {"dtype": a.dtype, "shapes": a.shapes, "data": self._put(a.data)}
            for field, a in part.arrays.items()
        }
        blobs = part.blobs and {
            "sizes": self._put(part.blobs.sizes),
            "sums": self._put(part.blobs.sums),
            "data": self._put(part.blobs.data),
            "files": self._put_files(part.blobs.files),
        }
        tokens = {
            str(field): {
                "dtype": some.dtype,
                "counts": self._put(some.counts),
                "joins": self._put(some.joins),
                "data": self._put(some.data),
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

    def _put(self, array: np.ndarray[Any, Any]) -> tuple[int, int]:
        padding = bytes(-self._at % 8)
        start = self._at + len(padding)
        content = self._sealed(array.view(np.uint8).data, start)
        with storage_errors(self._final):
            self._write(padding)
            self._write(content)
        return start, len(content)

    def _sealed(self, content: bytes | memoryview, start: int) -> bytes | memoryview:
        if self._cipher is None:
            return content
        return self._cipher.seal(content, _place(self._final, start))

    def _write(self, content: bytes | memoryview) -> None:
        self._file.write(content)
        self._sum.update(content)
        self._at += len(content)

    def finish(self, skipped: Sequence[Skipped], first_input: int | None) -> None:
        """Writes the index and gives the file its name."""
        index = {
            "schema": None if self._schema is None else json.dumps(self._schema.to_json()),
            "parts": self._parts,
            "skipped": [asdict(some) for some in skipped],
            "first_input": first_input,
        }
        text = self._sealed(json.dumps(index).encode(), self._at)
        with storage_errors(self._final):
            self._write(text)
            self._file.write(_END.pack(len(text), self._sum.intdigest()))
            self._file.close()
            self._temporary.replace(self._final)


def _place(path: Path, start: int) -> bytes:
    """Where a buffer lies, which its ciphertext is bound to."""
    return f"{path.name}:{start}".encode()


def has_segment(path: Path, cipher: Cipher | None = None) -> bool:
    """Whether an earlier run left a segment here, and all of it is what was written.

    And whether it can be read: not if it is encrypted with another key.
    """
    try:
        content = map_file(path)
    except FileNotFoundError:
        return False
    end = len(content) - _END.size
    if end < 0:
        return False
    _, checksum = _END.unpack(content[end:])
    if xxh3_64_intdigest(content[:end]) != int(checksum):
        return False
    try:
        _Buffers(path, content, cipher).index()
    except CannotDecrypt:
        return False
    return True


def read_segment(path: Path, cipher: Cipher | None = None, opened: Container[int] = ()) -> Segment:
    """A segment whose parts are mapped, not read.

    opened: the numbers of the parts of an encrypted one whose rows are wanted; of the others there
    is only how many bytes they have.
    """
    buffers = _Buffers(path, map_file(path), cipher)
    index = buffers.index()
    schema = index["schema"] and _schema(index["schema"])
    return Segment(
        parts=tuple(
            _part(buffers.opened() if number in opened else buffers, schema, part)
            for number, part in enumerate(index["parts"])
        ),
        skipped=tuple(Skipped(**some) for some in index["skipped"]),
        first_input=index["first_input"],
    )


@dataclass(frozen=True, slots=True)
class _Buffers:
    """The buffers of a segment. is_open: whether those with the bytes of rows are decrypted."""

    path: Path
    content: memoryview
    cipher: Cipher | None
    is_open: bool = False

    def opened(self) -> _Buffers:
        return replace(self, is_open=True)

    def index(self) -> Any:
        end = len(self.content) - _END.size
        length, _ = _END.unpack(self.content[end:])
        return json.loads(bytes(self._get(end - length, end)))

    def array(self, span: tuple[int, int], dtype: str) -> np.ndarray[Any, Any]:
        return np.frombuffer(self._get(span[0], span[0] + span[1]), dtype)

    def rows(self, span: tuple[int, int]) -> np.ndarray[Any, Any]:
        if self.cipher is None or self.is_open:
            return self.array(span, "u1")
        # As long as they are, and in no memory.
        return np.broadcast_to(np.zeros(1, np.uint8), span[1] - SEALED_BYTES)

    def _get(self, start: int, stop: int) -> bytes | memoryview:
        content = self.content[start:stop]
        return (
            content if self.cipher is None else self.cipher.open(content, _place(self.path, start))
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
