"""Rows whose fields all lie together in one blob: what is encrypted row by row."""

from __future__ import annotations

import struct
from itertools import accumulate, repeat

import numpy as np

from millstream.format.part import Arrays, Blobs, Part


def row_wise(part: Part) -> Part:
    """The same rows, with one blob each for all fields, whose checksums are not taken.

    None of the bytes of a part may lie in files, and none of its fields may be one of tokens.
    """
    count = len(part.schema.fields)
    if not count:
        return part
    others = [number for number in range(count) if number not in part.arrays]
    columns = {number: _array_payloads(arrays) for number, arrays in part.arrays.items()}
    if part.blobs is not None:
        columns.update(zip(others, _payloads(part.blobs, len(others)), strict=True))
    ordered = [columns[number] for number in range(count)]
    pack = struct.Struct(f"<{count - 1}Q").pack
    blobs = [b"".join((pack(*map(len, row[:-1])), *row)) for row in zip(*ordered, strict=True)]
    return Part(
        schema=part.schema,
        rows=part.rows,
        arrays={},
        blobs=Blobs(
            sizes=np.array([len(blob) for blob in blobs], np.int64),
            sums=np.zeros(part.rows, np.uint64),
            data=np.frombuffer(b"".join(blobs), np.uint8),
        ),
    )


def _array_payloads(arrays: Arrays) -> list[bytes]:
    """Each row's array as the blob of an array: rank, shape, elements."""
    content = arrays.data.tobytes()
    sizes = arrays.sizes().tolist()
    starts = accumulate(sizes, initial=0)
    shapes = repeat(arrays.shapes[0], arrays.rows) if arrays.uniform else arrays.shapes
    return [
        struct.pack(f"<{1 + len(shape)}Q", len(shape), *shape) + content[start : start + size]
        for shape, start, size in zip(shapes, starts, sizes, strict=False)
    ]


def _payloads(blobs: Blobs, fields: int) -> list[list[bytes]]:
    """The payloads of a group's blobs, a list a field."""
    content, at = blobs.data.tobytes(), 0
    lengths = struct.Struct(f"<{fields - 1}Q")
    found: list[list[bytes]] = [[] for _ in range(fields)]
    for size in blobs.sizes.tolist():
        end, start = at + size, at + lengths.size
        for column, length in zip(found, lengths.unpack_from(content, at), strict=False):
            column.append(content[start : start + length])
            start += length
        found[-1].append(content[start:end])
        at = end
    return found
