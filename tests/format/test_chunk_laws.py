"""Laws of chunks: whatever is written comes back; how rows were grouped leaves no trace."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_reader import SmallChunk
from strategies import rows, same

from millstream.errors import MillstreamError
from millstream.format import (
    ChunkView,
    Encoder,
    Identity,
    Part,
    assemble,
    bind,
    builtin,
    object_bytes,
    rebuilder,
)
from millstream.format.codecs import ArrayCodec
from millstream.format.filters import Known
from millstream.format.view import BUILTIN, Undoing

IDENTITY = Identity(job=bytes(range(16)), sequence=7)


def encode(samples: list) -> Part:
    encoder = Encoder(samples[0], builtin())
    for sample in samples:
        encoder.add(sample)
    part = encoder.take()
    assert part is not None
    return part


def to_bytes(parts: list[Part]) -> bytes:
    return b"".join(assemble(parts, IDENTITY).pieces)


def read(content: bytes, known: Known = BUILTIN) -> list:
    view = ChunkView(memoryview(content), "test", undoing=Undoing(known=known))
    schema = view.layout.schema
    rebuild = rebuilder(schema.tree)
    codecs = bind(schema, builtin())
    found = []
    for row in range(view.layout.rows):
        leaves = []
        for number, (field, codec) in enumerate(zip(schema.fields, codecs, strict=True)):
            if not isinstance(codec, ArrayCodec):
                leaves.append(codec.decode(view.payload(number, row)))
            elif view.is_column(number):
                leaves += codec.values(view.take(number, np.array([row])), field.dtype)
            else:
                array = view.array(number, row, codec.storage(field.dtype))
                leaves += codec.values(array[None], field.dtype)
        found.append(rebuild(leaves))
    return found


@given(rows())
def test_what_is_written_comes_back(samples: list) -> None:
    found = read(to_bytes([encode(samples)]))
    assert len(found) == len(samples)
    assert all(map(same, found, samples))


@given(rows())
def test_a_reader_written_from_the_page_alone_finds_the_same(samples: list) -> None:
    found = SmallChunk(to_bytes([encode(samples)])).samples()
    assert len(found) == len(samples)
    assert all(map(same, found, samples))


@given(rows(max_size=9), st.data())
def test_the_grouping_of_rows_leaves_no_trace(samples: list, data: st.DataObject) -> None:
    whole = encode(samples)
    borders = sorted(data.draw(st.sets(st.integers(1, len(samples)))) | {0, len(samples)})
    spans = list(pairwise(borders))
    encoded_apart = [encode(samples[a:b]) for a, b in spans]
    assert to_bytes([whole]) == to_bytes([whole.slice(a, b) for a, b in spans])
    assert to_bytes([whole]) == to_bytes(encoded_apart)


@given(rows())
def test_the_length_is_known_beforehand(samples: list) -> None:
    chunk = assemble([encode(samples)], IDENTITY)
    assert chunk.size == object_bytes(chunk.layout) == len(b"".join(chunk.pieces))


@given(rows(max_size=5), st.data())
def test_a_changed_byte_is_never_other_data(samples: list, data: st.DataObject) -> None:
    content = bytearray(to_bytes([encode(samples)]))
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    try:
        found = read(bytes(content))
    except MillstreamError:
        return
    # Padding between sections carries nothing; job and sequence are not data.
    assert len(found) == len(samples)
    assert all(map(same, found, samples))


@given(rows(max_size=5), st.data())
def test_a_cut_chunk_is_an_error(samples: list, data: st.DataObject) -> None:
    content = to_bytes([encode(samples)])
    with pytest.raises(MillstreamError):
        read(content[: data.draw(st.integers(0, len(content) - 1))])


@given(st.binary(max_size=300))
def test_foreign_bytes_are_an_error(content: bytes) -> None:
    with pytest.raises(MillstreamError):
        ChunkView(memoryview(content), "test")


def test_problems_name_the_chunk_and_the_row() -> None:
    content = bytearray(to_bytes([encode([{"t": f"text {i}", "n": i} for i in range(5)])]))
    content[content.rindex(b"text 3")] ^= 1
    view = ChunkView(memoryview(bytes(content)), "abc")
    assert [str(problem.error)[:18] for problem in view.problems()] == ["chunk abc, row 3: "]
