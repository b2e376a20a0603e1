"""The manifest: the schema, the settings and the list of chunks of one dataset version.

docs/format.md describes the bytes. The list is binary, a column a property, so that a million
chunks load by a few numpy views.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from blake3 import blake3
from xxhash import xxh3_64_intdigest

from millstream.errors import CorruptData, UnsupportedError
from millstream.format.schema import Schema

MAGIC = b"MILLMANI"
VERSION = 1
DIGEST_BYTES = 32
PREAMBLE = struct.Struct("<8sHHIQQQ24s")
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ChunkTable:
    """A row a chunk, in the order of the dataset.

    rows: uint32. lead: uint32, how many bytes to read first, see `Layout.lead`. sizes: uint64,
    bytes of the object. digests: uint8 (chunks, 32), BLAKE3 of the object. tokens: uint64, the
    tokens of each; None if the dataset has no token field.
    """

    rows: npt.NDArray[np.uint32]
    lead: npt.NDArray[np.uint32]
    sizes: npt.NDArray[np.uint64]
    digests: npt.NDArray[np.uint8]
    tokens: npt.NDArray[np.uint64] | None = None

    def __post_init__(self) -> None:
        count = len(self.rows)
        tokens = count if self.tokens is None else len(self.tokens)
        if not (len(self.lead) == len(self.sizes) == tokens == count):
            raise CorruptData("the columns of a chunk table differ in length")
        if self.digests.shape != (count, DIGEST_BYTES):
            raise CorruptData(f"{count} chunks have digests of shape {self.digests.shape}")

    def __len__(self) -> int:
        return len(self.rows)

    @staticmethod
    def joined(tables: Sequence[ChunkTable]) -> ChunkTable:
        """The chunks of several tables, one after another: all with tokens, or all without."""
        tokens = [table.tokens for table in tables if table.tokens is not None]
        return ChunkTable(
            rows=np.concatenate([table.rows for table in tables]),
            lead=np.concatenate([table.lead for table in tables]),
            sizes=np.concatenate([table.sizes for table in tables]),
            digests=np.concatenate([table.digests for table in tables]),
            tokens=np.concatenate(tokens) if tokens else None,
        )

    def name(self, chunk: int) -> str:
        """The digest of a chunk in hex, which is its name."""
        digest: bytes = self.digests[chunk].tobytes()
        return digest.hex()


# Among the filters of a version: that there are chunks of which nothing is had without the rest.
WHOLE = "body"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Manifest:
    """One version of a dataset.

    version: from 1. parent: the digest in hex of the version that this one follows, or None.
    settings: what shaped the chunks, as JSON. filters: the names of those that some chunk was
    written with, and WHOLE if some body was filtered as a whole, sorted.
    """

    version: int
    schema: Schema
    chunks: ChunkTable
    parent: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    filters: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """The number of rows of the dataset."""
        return int(self.chunks.rows.sum(dtype=np.int64))

    @property
    def tokens(self) -> int | None:
        """The tokens of all chunks; None if the dataset has no token field."""
        tokens = self.chunks.tokens
        return None if tokens is None else int(tokens.sum(dtype=np.int64))

    @property
    def nbytes(self) -> int:
        """The bytes of all chunks."""
        return int(self.chunks.sizes.sum(dtype=np.int64))

    def summary(self) -> dict[str, Any]:
        """What the JSON beside the manifest says to a person."""
        return {
            "format": VERSION,
            "version": self.version,
            "parent": self.parent,
            "rows": self.rows,
            **self._found_json(),
            "bytes": self.nbytes,
            "chunks": len(self.chunks),
            "settings": self.settings,
            "schema": self.schema.to_json(),
            "fields": {f.name: f"{f}{list(f.shape or [])}" for f in self.schema.fields},
        }

    def _found_json(self) -> dict[str, Any]:
        """What only some datasets have, so that others do not name it."""
        tokens = {} if self.tokens is None else {"tokens": self.tokens}
        return {**tokens, **({"filters": list(self.filters)} if self.filters else {})}

    def to_bytes(self) -> bytes:
        """The manifest as it is stored."""
        head = {
            "version": self.version,
            "parent": self.parent,
            "rows": self.rows,
            **self._found_json(),
            "settings": self.settings,
            "schema": self.schema.to_json(),
        }
        text = json.dumps(head, separators=(",", ":")).encode()
        text = text.ljust(-(-len(text) // 64) * 64)
        table = self.chunks
        rest = b"".join(
            [
                text,
                table.sizes.astype("<u8").tobytes(),
                table.rows.astype("<u4").tobytes(),
                table.lead.astype("<u4").tobytes(),
                table.digests.tobytes(),
                b"" if table.tokens is None else table.tokens.astype("<u8").tobytes(),
            ]
        )
        size = PREAMBLE.size + len(rest)
        checksum = xxh3_64_intdigest(rest)
        fields = (len(text), size, len(table), checksum, b"")
        return PREAMBLE.pack(MAGIC, VERSION, 0, *fields) + rest


def version_digest(content: bytes | memoryview) -> str:
    """The name of a version: BLAKE3 of its manifest, in hex."""
    return blake3(content).hexdigest()


def read_manifest(content: bytes | memoryview) -> Manifest:
    """The inverse of `Manifest.to_bytes`; raises CorruptData or UnsupportedError."""
    view = memoryview(content)
    if len(view) < PREAMBLE.size:
        raise CorruptData(f"a manifest of {len(view)} bytes is cut short")
    magic, version, flags, length, size, count, checksum, zeros = PREAMBLE.unpack_from(view)
    if magic != MAGIC:
        raise CorruptData(f"not a manifest: it starts with {bytes(magic)!r}, expected {MAGIC!r}")
    if version != VERSION or flags:
        raise UnsupportedError(
            f"a manifest of format version {version}, flags {flags}; this millstream reads "
            f"version {VERSION}, flags 0"
        )
    if not PREAMBLE.size + length <= size == len(view):
        raise CorruptData(f"a manifest of {len(view)} bytes, its header says {size}")
    rest = view[PREAMBLE.size :]
    if xxh3_64_intdigest(rest) != checksum or any(zeros):
        raise CorruptData("the manifest does not match its checksum")
    head = _head(bytes(rest[:length]))
    has_tokens = "tokens" in head
    expected = length + count * (8 + 4 + 4 + DIGEST_BYTES + 8 * has_tokens)
    if len(rest) != expected:
        raise CorruptData(f"{count} chunks take a manifest of {PREAMBLE.size + expected} bytes")
    return _manifest(head, _table(rest[length:], count, has_tokens=has_tokens))


def _table(content: memoryview, count: int, *, has_tokens: bool) -> ChunkTable:
    return ChunkTable(
        sizes=np.frombuffer(content, "<u8", count),
        rows=np.frombuffer(content, "<u4", count, 8 * count),
        lead=np.frombuffer(content, "<u4", count, 12 * count),
        digests=np.frombuffer(content, np.uint8, count * DIGEST_BYTES, 16 * count).reshape(
            count, DIGEST_BYTES
        ),
        tokens=np.frombuffer(content, "<u8", count, 48 * count) if has_tokens else None,
    )


def _head(text: bytes) -> dict[str, Any]:
    try:
        head = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CorruptData(f"the manifest's head is not JSON: {error}") from None
    if not isinstance(head, dict):
        raise CorruptData("the manifest's head is not a JSON object")
    return head


def _manifest(head: dict[str, Any], chunks: ChunkTable) -> Manifest:
    match head:
        case {"version": int(version), "parent": parent, "settings": dict(settings), **rest}:
            known = parent is None or (isinstance(parent, str) and _DIGEST.fullmatch(parent))
            if version < 1 or not known:
                raise CorruptData(f"a manifest of version {version} with the parent {parent!r}")
            manifest = Manifest(
                version=version,
                schema=Schema.from_json(rest.get("schema")),
                chunks=chunks,
                parent=parent,
                settings=settings,
                filters=_names(rest.get("filters", [])),
            )
            if manifest.rows != rest.get("rows") or (len(chunks) and not chunks.rows.all()):
                raise CorruptData(f"a manifest of {rest.get('rows')} rows lists {manifest.rows}")
            if chunks.tokens is not None and not _adds_up(chunks.tokens, rest.get("tokens")):
                raise CorruptData(f"a manifest of {rest.get('tokens')} tokens lists others")
            return manifest
    raise CorruptData(f"the manifest's head lacks a field: {sorted(head)[:20]}")


def _names(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise CorruptData(f"the names of filters are {value!r:.60}")
    return tuple(value)


def _adds_up(counts: npt.NDArray[np.uint64], total: object) -> bool:
    """Whether these are numbers below 2^63 with this sum, which may not wrap."""
    most = np.uint64((1 << 63) // max(len(counts), 1))
    return not (counts >= most).any() and int(counts.sum(dtype=np.int64)) == total
