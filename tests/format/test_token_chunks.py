"""Chunks of tokens: what is written comes back, a changed byte is found, hostile bytes refused."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from documents import DTYPES, documents, of_lengths
from hypothesis import given
from hypothesis import strategies as st
from small_reader import SmallChunk, small_manifest
from strategies import same
from xxhash import xxh3_64_intdigest

from millstream.errors import CorruptData, MillstreamError, SampleError
from millstream.format import (
    ChunkTable,
    ChunkView,
    Identity,
    Layout,
    Manifest,
    Part,
    TokenEncoder,
    assemble,
    object_bytes,
    read_manifest,
)
from millstream.format.layout import TokenColumn, preamble

IDENTITY = Identity(job=bytes(range(16)), sequence=7)
# One in the middle of a page, one at its end, one over several.
LONG = of_lengths([10, 0, 16_374, 40_000, 3], "<u2")
CHUNK = "d1d67720aeb12f78d5bc9a99de32d5e4f1cb521f570a39f60dcef9b7fe326de9"
MANIFEST = "b7f9b6533e57287e800918232fd5ddcc1f680570512a9a0b3f94d8e3de85639b"


def encode(docs: list[Any]) -> Part:
    encoder = TokenEncoder(docs[0])
    for doc in docs:
        encoder.add(encoder.array(doc))
    tokens = encoder.take()
    assert tokens is not None
    return Part(schema=encoder.schema, rows=len(docs), arrays={}, blobs=None, tokens={0: tokens})


def to_bytes(parts: list[Part]) -> bytes:
    return b"".join(assemble(parts, IDENTITY).pieces)


def read(content: bytes) -> list[np.ndarray]:
    view = ChunkView(memoryview(content), "test")
    dtype = np.dtype(view.layout.tokens[0].dtype)
    return [view.array(0, row, dtype) for row in range(view.layout.rows)]


@given(documents())
def test_what_is_written_comes_back(docs: list[np.ndarray]) -> None:
    content = to_bytes([encode(docs)])
    for found in (read(content), SmallChunk(content).samples()):
        assert len(found) == len(docs)
        assert all(map(same, found, docs))


@given(documents(), st.data())
def test_the_grouping_of_rows_leaves_no_trace(docs: list[np.ndarray], data: st.DataObject) -> None:
    middle = data.draw(st.integers(0, len(docs)))
    whole = encode(docs)
    parts = [whole.slice(a, b) for a, b in ((0, middle), (middle, len(docs))) if a < b]
    assert to_bytes([whole]) == to_bytes(parts)


@pytest.mark.parametrize("cuts", [[3], [1, 2, 4], [4]])
def test_pages_know_nothing_of_parts(cuts: list[int]) -> None:
    whole = encode(LONG)
    parts = [whole.slice(a, b) for a, b in zip([0, *cuts], [*cuts, len(LONG)], strict=True)]
    assert to_bytes([whole]) == to_bytes(parts)


@given(documents())
def test_the_length_is_known_beforehand(docs: list[np.ndarray]) -> None:
    chunk = assemble([encode(docs)], IDENTITY)
    assert chunk.size == object_bytes(chunk.layout) == len(b"".join(chunk.pieces))
    assert chunk.layout.count_tokens() == sum(map(len, docs))


@given(documents(most=20), st.data())
def test_a_changed_byte_is_never_other_data(docs: list[np.ndarray], data: st.DataObject) -> None:
    content = bytearray(to_bytes([encode(docs)]))
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        found = read(bytes(content))
    except MillstreamError:
        return
    assert len(found) == len(docs)  # it was padding, or the job's name
    assert all(map(same, found, docs))


@given(documents(most=20), st.data())
def test_a_cut_chunk_is_an_error(docs: list[np.ndarray], data: st.DataObject) -> None:
    content = to_bytes([encode(docs)])
    with pytest.raises(MillstreamError):
        read(content[: data.draw(st.integers(0, len(content) - 1))])


def test_only_the_pages_that_are_read_are_checked() -> None:
    chunk = assemble([encode(LONG)], IDENTITY)
    content = bytearray(b"".join(chunk.pieces))
    start = len(content) - chunk.layout.tokens[0].data.length
    content[start + 40_000] ^= 1  # in the second page
    view = ChunkView(memoryview(bytes(content)), "abc")
    tokens = np.concatenate(LONG)
    assert (view.tokens(0).tokens(0, 16_384) == tokens[:16_384]).all()
    assert (view.tokens(0).tokens(32_768, 50_000) == tokens[32_768:50_000]).all()
    for touched in ((16_383, 16_385), (20_000, 20_001), (32_767, 32_769)):
        with pytest.raises(CorruptData, match="chunk abc, rows 3 to 3: a page of tokens"):
            view.tokens(0).tokens(*touched)
    (damage,) = view.problems()
    assert (damage.fields, damage.first, damage.last) == (("value",), 3, 3)
    unchecked = ChunkView(memoryview(bytes(content)), "abc", verify=False)
    assert len(unchecked.array(0, 3, np.dtype("<u2"))) == 40_000


def test_damaged_offsets_are_found() -> None:
    chunk = assemble([encode(LONG)], IDENTITY)
    content = bytearray(b"".join(chunk.pieces))
    body = len(content) - chunk.layout.body_bytes
    content[body + 8] ^= 2
    view = ChunkView(memoryview(bytes(content)), "abc")
    with pytest.raises(CorruptData, match="chunk abc: the table of its documents"):
        view.array(0, 2, np.dtype("<u2"))
    (damage,) = view.problems()
    assert (damage.first, damage.last) == (0, 4)
    unchecked = ChunkView(memoryview(bytes(content)), "abc", verify=False)
    assert len(unchecked.array(0, 3, np.dtype("<u2"))) == 40_000  # still inside of the chunk
    content[body + 15] ^= 0xFF
    with pytest.raises(CorruptData, match="ascend"):
        ChunkView(memoryview(bytes(content)), "abc", verify=False).array(0, 3, np.dtype("<u2"))


def hostile(**changes: Any) -> bytes:
    """A chunk whose header, with a right checksum, says something else of its tokens."""
    chunk = assemble([encode(LONG[:2])], IDENTITY)
    tokens = replace(chunk.layout.tokens[0], **changes)
    layout: Layout = replace(chunk.layout, tokens=(tokens,))
    header = layout.header()
    whole = b"".join(chunk.pieces)
    return preamble(layout, header, IDENTITY) + header + whole[-chunk.layout.body_bytes :]


@pytest.mark.parametrize(
    "changes",
    [
        {"page": 0},
        {"page": 3},
        {"dtype": "<u8"},
        {"dtype": "|O"},
        {"dtype": "<U0"},
        {"joins": 1},
        {"field": 1},
        {"page": -5},
        {"page": 1 << 70},
    ],
    ids=str,
)
def test_a_header_that_makes_no_sense_is_refused(changes: dict[str, Any]) -> None:
    assert len(read(hostile())) == 2
    with pytest.raises(CorruptData):
        read(hostile(**changes))


@pytest.mark.parametrize("name", ["offsets", "sums", "data"])
@pytest.mark.parametrize("by", [-8, 8, 1 << 40])
def test_a_span_of_another_length_is_refused(name: str, by: int) -> None:
    column: TokenColumn = assemble([encode(LONG[:2])], IDENTITY).layout.tokens[0]
    span = getattr(column, name)
    with pytest.raises(CorruptData):
        read(hostile(**{name: replace(span, length=span.length + by)}))


# Samples --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_integers_of_every_width_keep_their_dtype(dtype: str) -> None:
    (doc,) = of_lengths([9], dtype)
    assert same(read(to_bytes([encode([doc])]))[0], doc)


@pytest.mark.parametrize(
    "sample",
    [
        [1, 2, 3],
        7,
        "text",
        {"tokens": np.zeros(3, int)},
        np.zeros((2, 3), np.int32),
        np.zeros(3, np.float32),
        np.zeros(3, np.bool_),
        np.int64(3),
        torch.zeros(3),
        torch.zeros(3, dtype=torch.bfloat16),
        torch.zeros(3, dtype=torch.bool),
        torch.zeros((), dtype=torch.int64),
    ],
    ids=repr,
)
def test_what_is_no_row_of_integers_is_refused(sample: Any) -> None:
    with pytest.raises(SampleError, match="1-D numpy array or torch tensor of integers"):
        TokenEncoder(sample)
    with pytest.raises(SampleError, match="1-D numpy array or torch tensor of integers"):
        TokenEncoder(np.zeros(3, np.int32)).array(sample)


@pytest.mark.parametrize("other", [np.zeros(2, np.int64), torch.zeros(2, dtype=torch.int32)])
def test_a_document_of_another_dtype_is_refused(other: Any) -> None:
    with pytest.raises(SampleError, match=r"ndarray\[<i4\]"):
        TokenEncoder(np.zeros(3, np.int32)).array(other)


def test_the_caller_may_reuse_an_array() -> None:
    encoder, doc = TokenEncoder(np.zeros(2, "<u2")), np.ones(2, "<u2")
    encoder.add(encoder.array(doc))
    doc[:] = 7
    tokens = encoder.take()
    assert tokens is not None
    assert tokens.data.tolist() == [1, 0, 1, 0]
    assert encoder.take() is None


# Golden bytes ---------------------------------------------------------------------------------


def joined_part() -> Part:
    encoder = TokenEncoder(LONG[0])
    encoder.add(LONG[2], joins=True)
    encoder.add(LONG[1])
    encoder.add(LONG[0])
    tokens = encoder.take()
    assert tokens is not None
    return Part(schema=encoder.schema, rows=3, arrays={}, blobs=None, tokens={0: tokens})


def manifest() -> Manifest:
    return Manifest(
        version=1,
        schema=encode(LONG).schema,
        settings={"chunk_size": 100, "item_loader": "tokens"},
        chunks=ChunkTable(
            rows=np.array([5, 7], np.uint32),
            lead=np.array([100, 200], np.uint32),
            sizes=np.array([1 << 40, 9], np.uint64),
            digests=np.arange(64, dtype=np.uint8).reshape(2, 32),
            tokens=np.array([1 << 36, 0], np.uint64),
        ),
    )


def test_the_bytes_of_a_chunk_of_tokens() -> None:
    content = to_bytes([joined_part()])
    assert hashlib.sha256(content).hexdigest() == CHUNK
    assert ChunkView(memoryview(content), "test").tokens(0).joins
    assert SmallChunk(content).header["tokens"][0]["joins"]
    assert all(map(same, SmallChunk(content).samples(), [LONG[2], LONG[1], LONG[0]]))


def test_only_the_first_row_of_a_chunk_may_join() -> None:
    part = joined_part()
    with pytest.raises(ValueError, match="only the first row"):
        to_bytes([part, part])


def test_the_bytes_of_a_manifest_of_tokens() -> None:
    content = manifest().to_bytes()
    assert hashlib.sha256(content).hexdigest() == MANIFEST
    found = read_manifest(content)
    assert found.summary() == manifest().summary()
    assert found.to_bytes() == content
    assert found.tokens == small_manifest(content)["tokens"].sum() == 1 << 36


@pytest.mark.parametrize("counts", [[1 << 36, 1], [1 << 63, (1 << 63) + (1 << 36)]])
def test_a_manifest_whose_tokens_do_not_add_up_is_refused(counts: list[int]) -> None:
    content = bytearray(manifest().to_bytes())
    content[-16:] = np.array(counts, "<u8").tobytes()
    content[32:40] = xxh3_64_intdigest(bytes(content[64:])).to_bytes(8, "little")
    with pytest.raises(CorruptData, match="tokens"):
        read_manifest(bytes(content))
    with pytest.raises(CorruptData):
        read_manifest(bytes(content[:-16]))
