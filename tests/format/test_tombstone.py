"""Tombstones: what docs/format.md says of them, and that every byte counts, as in a manifest."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_64_intdigest

from millstream.errors import CorruptData, UnsupportedError
from millstream.format import ChunkTable, Encoder, Manifest, Tombstone, builtin, read_version

DIGEST = "0123456789abcdef" * 4


@given(st.integers(1, 10**12 - 1), st.binary(min_size=32, max_size=32))
def test_a_tombstone_comes_back(version: int, digest: bytes) -> None:
    stone = Tombstone(version=version, digest=digest.hex())
    assert read_version(stone.to_bytes(), version) == stone


def test_its_bytes_are_those_of_the_page() -> None:
    content = Tombstone(version=7, digest=DIGEST).to_bytes()
    assert len(content) == 64
    assert struct.unpack_from("<8sHHIQ32s", content) == (
        b"MILLTOMB", 1, 0, 0, 7, bytes.fromhex(DIGEST),
    )  # fmt: skip
    assert struct.unpack_from("<Q", content, 56) == (xxh3_64_intdigest(content[:56]),)


def manifest() -> bytes:
    table = ChunkTable(
        rows=np.array([3], np.uint32),
        lead=np.array([100], np.uint32),
        sizes=np.array([1000], np.uint64),
        digests=np.arange(32, dtype=np.uint8).reshape(1, 32),
    )
    schema = Encoder({"a": 1}, builtin()).schema
    return Manifest(version=7, schema=schema, chunks=table, settings={"x": 1}).to_bytes()


@pytest.mark.parametrize("content", [Tombstone(version=7, digest=DIGEST).to_bytes(), manifest()])
def test_every_flipped_bit_is_found(content: bytes) -> None:
    read_version(content, 7)
    for place in range(len(content)):
        for bit in range(8):
            changed = bytearray(content)
            changed[place] ^= 1 << bit
            with pytest.raises((CorruptData, UnsupportedError)):
                read_version(bytes(changed), 7)


def test_cut_or_in_the_wrong_place() -> None:
    content = Tombstone(version=7, digest=DIGEST).to_bytes()
    for wrong in (content[:-1], content + b"\0", content[:8]):
        with pytest.raises(CorruptData, match="expected 64"):
            read_version(wrong, 7)
    with pytest.raises(CorruptData, match="version 8 lies version 7"):
        read_version(content, 8)
    with pytest.raises(CorruptData, match="version 8 lies version 7"):
        read_version(manifest(), 8)
