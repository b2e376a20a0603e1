"""Golden bytes: a change here is a change of the format, and must be one on purpose.

The format is version 0: until it is 1 these may be written anew, with a line in CHANGELOG.md.
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
CHUNK = "676f038e89d55e02a6a1260f1a2189a3f78625bc77d55b231bb36fe726c9d599"
MANIFEST = "9abf415685fe065430c3f6b154069a50da98c271d651ba4ee0da88c0044e81c6"


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
