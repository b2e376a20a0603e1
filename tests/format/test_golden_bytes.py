"""Golden bytes: the format is version 1, and what it has written before it writes for ever.

tests/golden has whole datasets.
"""

from __future__ import annotations

import hashlib

import numpy as np
from small_reader import SmallChunk
from strategies import Point, same

from millstream import Json
from millstream.format import (
    ChunkTable,
    Encoder,
    Identity,
    Manifest,
    assemble,
    builtin,
    read_manifest,
    version_digest,
)

SAMPLES = [
    {
        "bool": i % 2 == 0,
        "int": -i,
        "float": i / 3,
        "str": "é" * i,
        "bytes": bytes(range(i)),
        "scalar": np.float32(i),
        "fixed": np.arange(4, dtype="<i2") + i,
        "ragged": np.arange(i, dtype=">f8"),
        "json": Json({"a": [i, (None, True)], 7: "x"}),
        "nested": Point([i, None], (f"t{i}",)),
    }
    for i in range(5)
]
CHUNK = "44e80473b888e4737e829f591b94fecce836e72108608ab0dd57398b16f39a1e"
MANIFEST = "d4ad1827c6745db2733b89c398e3fc7f623966d8e0d402e932bee6735cfa6c79"


def chunk() -> bytes:
    encoder = Encoder(SAMPLES[0], builtin())
    for sample in SAMPLES:
        encoder.add(sample)
    part = encoder.take()
    assert part is not None
    return b"".join(assemble([part], Identity(job=bytes(range(16)), sequence=3)).pieces)


def manifest() -> Manifest:
    encoder = Encoder(SAMPLES[0], builtin())
    return Manifest(
        version=2,
        parent="ab" * 32,
        schema=encoder.schema,
        settings={"chunk_bytes": 64_000_000},
        chunks=ChunkTable(
            rows=np.array([5, 7], np.uint32),
            lead=np.array([100, 200], np.uint32),
            sizes=np.array([1 << 40, 9], np.uint64),
            digests=np.arange(64, dtype=np.uint8).reshape(2, 32),
        ),
    )


def test_the_bytes_of_a_chunk() -> None:
    assert hashlib.sha256(chunk()).hexdigest() == CHUNK
    assert all(map(same, SmallChunk(chunk()).samples(), SAMPLES))


def test_the_bytes_of_a_manifest() -> None:
    content = manifest().to_bytes()
    assert version_digest(content) == MANIFEST
    found = read_manifest(content)
    assert found.summary() == manifest().summary()
    assert found.to_bytes() == content
    assert found.chunks.name(1) == bytes(range(32, 64)).hex()
