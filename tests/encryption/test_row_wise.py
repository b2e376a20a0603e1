"""Rows whose fields lie together, as they do before they are encrypted one by one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from format.test_chunk_laws import encode, read, to_bytes
from hypothesis import given
from strategies import rows, same
from xxhash import xxh3_64_intdigest

from millstream.format import Part
from millstream.format.row_wise import row_wise


def summed(part: Part) -> Part:
    """With the checksums that encryption puts in otherwise."""
    if part.blobs is None:
        return part
    ends = np.cumsum(part.blobs.sizes).tolist()
    content = part.blobs.data.tobytes()
    blobs = [content[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    sums = np.array(list(map(xxh3_64_intdigest, blobs)), np.uint64)
    return replace(part, blobs=replace(part.blobs, sums=sums))


@given(rows())
def test_they_hold_what_they_held_and_no_columns(samples: list) -> None:
    part = row_wise(encode(samples))
    assert not part.arrays
    found = read(to_bytes([summed(part)]))
    assert all(map(same, found, samples))
    assert len(found) == len(samples)
