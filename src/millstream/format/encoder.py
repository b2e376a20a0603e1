"""Samples -> parts: flatten, check against the first sample, encode."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from xxhash import xxh3_64_intdigest

from millstream.errors import SampleError
from millstream.format.codecs import (
    ArrayCodec,
    BlobCodec,
    Codec,
    ScalarCodec,
    Shape,
    ShapedCodec,
)
from millstream.format.part import Arrays, Blobs, Part
from millstream.format.schema import (
    Field,
    Schema,
    codec_for,
    field_names,
    path_name,
    type_difference,
)
from millstream.format.tree import Mismatch, describe, flattener, tree_of


class Encoder:
    """Takes samples one by one, all of the structure and types of the one it is made for.

    What a sample holds is copied or encoded before `add` returns, so the caller may reuse its
    buffers. `nbytes` is about how much memory the rows since the last `take` hold.
    """

    def __init__(self, example: Any, codecs: Sequence[Codec]) -> None:
        """Raises SampleError if the example, which is not added, cannot be stored."""
        self.schema, self._bound = _schema_of(example, codecs)
        self._codecs = codecs
        self._flatten = flattener(self.schema.tree)
        numbered = list(enumerate(zip(self.schema.fields, self._bound, strict=True)))
        self._columns = [
            _column(index, codec, field.dtype)
            for index, (field, codec) in numbered
            if isinstance(codec, ArrayCodec)
        ]
        self._blobs = _BlobRows([(i, c) for i, (_, c) in numbered if isinstance(c, BlobCodec)])
        self.rows = 0
        self.nbytes = 0

    def add(self, sample: Any) -> None:
        """Adds one sample; raises SampleError, and then nothing of it is added."""
        leaves: list[Any] = []
        try:
            self._flatten(sample, leaves)
        except Mismatch as error:
            name = path_name(error.path) or "the sample"
            raise SampleError(type_difference(name, error.got, error.expected)) from None
        for field, codec, leaf in zip(self.schema.fields, self._bound, leaves, strict=True):
            if codec.describe(leaf) != field.dtype:
                raise SampleError(type_difference(field.name, self._type(leaf, field), str(field)))
        blob = self._blobs.encode(leaves)
        values = [column.encode(leaves[column.field]) for column in self._columns]
        self.nbytes += self._blobs.push(blob)
        for column, value in zip(self._columns, values, strict=True):
            self.nbytes += column.push(value)
        self.rows += 1

    def _type(self, leaf: Any, field: Field) -> str:
        if leaf is None or isinstance(leaf, dict | list | tuple):
            return describe(leaf)
        codec, dtype = codec_for(leaf, self._codecs, field.name)
        return str(Field(name=field.name, kind=codec.kind, dtype=dtype))

    def take(self) -> Part | None:
        """The rows added since the last call; None if there are none."""
        if not self.rows:
            return None
        part = Part(
            schema=self.schema,
            rows=self.rows,
            arrays={column.field: column.take() for column in self._columns},
            blobs=self._blobs.take(),
        )
        self.rows = self.nbytes = 0
        return part


def _schema_of(example: Any, codecs: Sequence[Codec]) -> tuple[Schema, list[Codec]]:
    tree = tree_of(example)
    leaves: list[Any] = []
    flattener(tree)(example, leaves)
    names = field_names(tree)
    if len(set(names)) != len(names):
        double = next(name for name in names if names.count(name) > 1)
        raise SampleError(f"two fields of a sample are both called {double!r}; rename one")
    found = [codec_for(leaf, codecs, name) for leaf, name in zip(leaves, names, strict=True)]
    fields = tuple(
        Field(name=name, kind=codec.kind, dtype=dtype)
        for name, (codec, dtype) in zip(names, found, strict=True)
    )
    return Schema(tree=tree, fields=fields), [codec for codec, _ in found]


class _ScalarColumn:
    def __init__(self, field: int, codec: ScalarCodec, dtype: str) -> None:
        self.field, self._codec, self._dtype = field, codec, dtype
        self._values: list[Any] = []

    def encode(self, value: Any) -> Any:
        return value

    def push(self, value: Any) -> int:
        self._values.append(value)
        return 40  # a Python number and its place in the list

    def take(self) -> Arrays:
        values, self._values = self._values, []
        column = self._codec.column(values, self._dtype)
        return Arrays(
            rows=len(values), dtype=column.dtype.str, shapes=((),), data=column.view(np.uint8)
        )


class _ShapedColumn:
    def __init__(self, field: int, codec: ShapedCodec, dtype: str) -> None:
        self.field, self._codec, self._dtype = field, codec, dtype
        self._shapes: list[Shape] = []
        self._pieces: list[bytes] = []

    def encode(self, value: Any) -> tuple[Shape, bytes]:
        return self._codec.encode(value, self._dtype)

    def push(self, value: tuple[Shape, bytes]) -> int:
        shape, piece = value
        self._shapes.append(shape)
        self._pieces.append(piece)
        return len(piece) + 100

    def take(self) -> Arrays:
        shapes, self._shapes = self._shapes, []
        pieces, self._pieces = self._pieces, []
        data = np.frombuffer(b"".join(pieces), np.uint8)
        return Arrays.of(len(shapes), self._codec.storage(self._dtype).str, shapes, data)


def _column(field: int, codec: ArrayCodec, dtype: str) -> _ScalarColumn | _ShapedColumn:
    if isinstance(codec, ScalarCodec):
        return _ScalarColumn(field, codec, dtype)
    if isinstance(codec, ShapedCodec):
        return _ShapedColumn(field, codec, dtype)
    raise TypeError(f"the codec {codec.kind!r} is neither a ScalarCodec nor a ShapedCodec")


class _BlobRows:
    """One blob a row: the lengths of all its payloads but the last (u64 each), the payloads."""

    def __init__(self, codecs: list[tuple[int, BlobCodec]]) -> None:
        self._codecs = codecs
        self._lengths = struct.Struct(f"<{max(len(codecs) - 1, 0)}Q")
        self._pieces: list[bytes] = []
        self._sums: list[int] = []

    def encode(self, leaves: list[Any]) -> bytes:
        payloads = [codec.encode(leaves[index]) for index, codec in self._codecs]
        if len(payloads) == 1:
            return payloads[0]
        return b"".join([self._lengths.pack(*map(len, payloads[:-1])), *payloads])

    def push(self, blob: bytes) -> int:
        self._pieces.append(blob)
        self._sums.append(xxh3_64_intdigest(blob))
        return len(blob) + 150

    def take(self) -> Blobs | None:
        pieces, self._pieces = self._pieces, []
        sums, self._sums = self._sums, []
        if not self._codecs:
            return None
        return Blobs(
            sizes=np.array([len(piece) for piece in pieces], np.int64),
            sums=np.array(sums, np.uint64),
            data=np.frombuffer(b"".join(pieces), np.uint8),
        )
