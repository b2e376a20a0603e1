"""Rows <-> bytes: pure functions of values, without IO. docs/format.md describes the bytes."""

from millstream.format.batch import Batch
from millstream.format.chunk import Chunk, array_blob_bytes, assemble, chunk_layout, object_digest
from millstream.format.codecs import Codec, Json, Shape, Source, builtin
from millstream.format.encoder import Encoder
from millstream.format.header import Header, header_bytes, read_header
from millstream.format.layout import HEAD_BYTES, MAX_ROWS, Identity, Layout, object_bytes
from millstream.format.manifest import ChunkTable, Manifest, read_manifest, version_digest
from millstream.format.part import Arrays, Blobs, Files, Part
from millstream.format.schema import (
    Field,
    Schema,
    bind,
    common_schema,
    schema_difference,
    schema_error,
)
from millstream.format.token_view import TokenView
from millstream.format.tokens import TokenEncoder, Tokens
from millstream.format.tombstone import Tombstone, read_version
from millstream.format.tree import rebuilder
from millstream.format.view import ChunkView, Damage

__all__ = [
    "HEAD_BYTES",
    "MAX_ROWS",
    "Arrays",
    "Batch",
    "Blobs",
    "Chunk",
    "ChunkTable",
    "ChunkView",
    "Codec",
    "Damage",
    "Encoder",
    "Field",
    "Files",
    "Header",
    "Identity",
    "Json",
    "Layout",
    "Manifest",
    "Part",
    "Schema",
    "Shape",
    "Source",
    "TokenEncoder",
    "TokenView",
    "Tokens",
    "Tombstone",
    "array_blob_bytes",
    "assemble",
    "bind",
    "builtin",
    "chunk_layout",
    "common_schema",
    "header_bytes",
    "object_bytes",
    "object_digest",
    "read_header",
    "read_manifest",
    "read_version",
    "rebuilder",
    "schema_difference",
    "schema_error",
    "version_digest",
]
