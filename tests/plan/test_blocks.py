"""Laws of blocks: every element is in one block, but for those at the end that fill none."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from millstream.plan import BlockLine, Pieces, block_counts

lengths = st.lists(st.integers(0, 30), min_size=1, max_size=12).map(
    lambda some: np.array(some, np.int64)
)
sizes = st.integers(1, 70)


@given(lengths, sizes)
def test_all_blocks_are_in_the_chunks_where_they_start(chunks: np.ndarray, size: int) -> None:
    counts = block_counts(chunks, size)
    assert counts.sum() == chunks.sum() // size
    owner = np.repeat(np.arange(len(chunks)), chunks)  # of each element
    starts = owner[np.arange(counts.sum()) * size]
    assert starts.tolist() == np.repeat(np.arange(len(chunks)), counts).tolist()


@given(lengths, sizes, st.data())
def test_the_pieces_of_blocks_are_their_elements(
    chunks: np.ndarray, size: int, data: st.DataObject
) -> None:
    count = int(block_counts(chunks, size).sum())
    wanted = data.draw(st.lists(st.integers(0, count - 1), max_size=20)) if count else []
    blocks = np.array(wanted, np.int64)
    line = BlockLine(chunks, size)
    first, heads = line.pieces(blocks)
    firsts = np.cumsum(chunks) - chunks
    found = np.full((len(blocks), size), -1)
    for some in (first, heads):
        for chunk, part in some.by_chunk() if some else []:
            for n in range(part.start, part.stop):
                start, stop = some.start[n], some.stop[n]
                assert 0 <= start < stop <= chunks[chunk]
                at = some.at[n]
                assert (found[some.place[n], at : at + stop - start] == -1).all()
                found[some.place[n], at : at + stop - start] = firsts[chunk] + np.arange(
                    start, stop
                )
    assert (found == blocks[:, None] * size + np.arange(size)).all()
    assert (line.blocks(first) == blocks[first.place]).all()


@given(lengths, sizes)
def test_each_chunk_comes_once(chunks: np.ndarray, size: int) -> None:
    blocks = np.arange(block_counts(chunks, size).sum())[::-1]
    first, heads = BlockLine(chunks, size).pieces(blocks)
    for some in (first, heads):
        numbers = [chunk for chunk, _ in some.by_chunk()] if some else []
        assert numbers == sorted(set(numbers))
    assert not first.at.any()
    assert heads is None or (heads.at.all() and not heads.start.any())


def test_a_block_over_many_chunks() -> None:
    line = BlockLine(np.array([3, 0, 1, 2, 5]), 7)
    first, heads = line.pieces(np.array([0]))
    assert heads is not None
    assert as_tuples(first) == [(0, 0, 0, 0, 3)]
    assert as_tuples(heads) == [(2, 0, 3, 0, 1), (3, 0, 4, 0, 2), (4, 0, 6, 0, 1)]


def as_tuples(some: Pieces) -> list[tuple[int, ...]]:
    columns = (some.chunk, some.place, some.at, some.start, some.stop)
    return list(zip(*[column.tolist() for column in columns], strict=True))
