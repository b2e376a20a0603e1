"""Segments: the encoded rows of one task, kept in a file until they are in chunks.

A private format of one job, read only by the version that wrote it: the buffers of the parts
end to end, a JSON index, its length (u64), and the xxh3 of all before that (u64). Of files that
are inputs of the job it has the names and states alone. A segment has its name only once it is
whole, as far as a kill goes; it is not synced to the disk, so after a power cut the checksum
decides.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from xxhash import xxh3_64, xxh3_64_intdigest

from millstream.format import Arrays, Blobs, Files, Part, Schema, Tokens
from millstream.format.part import NO_FILES
from millstream.store.local import map_file, storage_errors

_END = struct.Struct("<QQ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """An input whose function raised, with on_error="skip".

    input: its index. kept: how many samples it had yielded before; they are in the dataset.
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

    def __init__(self, temporary: Path, final: Path) -> None:
        self._temporary, self._final = temporary, final
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
        with storage_errors(self._final):
            self._write(padding)
            self._write(array.view(np.uint8).data)
        return start, array.nbytes

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
        text = json.dumps(index).encode()
        with storage_errors(self._final):
            self._write(text)
            self._file.write(_END.pack(len(text), self._sum.intdigest()))
            self._file.close()
            self._temporary.replace(self._final)


def has_segment(path: Path) -> bool:
    """Whether an earlier run left a segment here, and all of it is what was written."""
    try:
        content = map_file(path)
    except FileNotFoundError:
        return False
    end = len(content) - _END.size
    if end < 0:
        return False
    _, checksum = _END.unpack(content[end:])
    return xxh3_64_intdigest(content[:end]) == int(checksum)


def read_segment(path: Path) -> Segment:
    """A segment whose parts are mapped, not read."""
    content = map_file(path)
    end = len(content) - _END.size
    length, _ = _END.unpack(content[end:])
    index = json.loads(bytes(content[end - length : end]))
    schema = index["schema"] and _schema(index["schema"])
    return Segment(
        parts=tuple(_part(content, schema, part) for part in index["parts"]),
        skipped=tuple(Skipped(**some) for some in index["skipped"]),
        first_input=index["first_input"],
    )


@lru_cache(maxsize=8)
def _schema(text: str) -> Schema:
    """One for all segments of a job, which have the same."""
    return Schema.from_json(json.loads(text))


def _part(content: memoryview, schema: Schema, value: dict[str, Any]) -> Part:
    def get(span: tuple[int, int], dtype: str) -> np.ndarray[Any, Any]:
        return np.frombuffer(content[span[0] : span[0] + span[1]], dtype)

    def files(some: dict[str, tuple[int, int]]) -> Files:
        counts = {name: get(some[name], "i8") for name in ("rows", "starts", "sizes", "mtimes")}
        names = get(some["paths"], "u1").tobytes().split(b"\0")
        return Files(**counts, paths=tuple(map(os.fsdecode, names)))

    arrays = {
        int(field): Arrays(
            rows=value["rows"],
            dtype=some["dtype"],
            shapes=tuple(map(tuple, some["shapes"])),
            data=get(some["data"], "u1"),
        )
        for field, some in value["arrays"].items()
    }
    blobs = value["blobs"] and Blobs(
        sizes=get(value["blobs"]["sizes"], "i8"),
        sums=get(value["blobs"]["sums"], "u8"),
        data=get(value["blobs"]["data"], "u1"),
        files=NO_FILES if value["blobs"]["files"] is None else files(value["blobs"]["files"]),
    )
    tokens = {
        int(field): Tokens(
            dtype=some["dtype"],
            counts=get(some["counts"], "i8"),
            joins=get(some["joins"], "?"),
            data=get(some["data"], "u1"),
        )
        for field, some in value["tokens"].items()
    }
    return Part(schema=schema, rows=value["rows"], arrays=arrays, blobs=blobs, tokens=tokens)
