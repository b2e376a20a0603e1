"""Laws of byte ranges: compared with sets of bytes, and with what reading really touches."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import rows
from test_chunk_laws import encode, to_bytes

from millstream.errors import CorruptData
from millstream.format import ChunkView
from millstream.format.spans import Spans, joined, missing

some_spans = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 9)), max_size=8).map(
    lambda pairs: np.array([(a, a + n) for a, n in pairs], np.int64).reshape(-1, 2)
)


def octets(some: Spans) -> set[int]:
    return {byte for start, stop in some.tolist() for byte in range(start, stop)}


def is_in_order_and_apart(some: Spans, gap: int = 0) -> bool:
    inside = bool((some[:, 0] < some[:, 1]).all())
    return inside and bool((some[1:, 0] > some[:-1, 1] + gap).all())


@given(some_spans, st.integers(0, 5))
def test_joined_covers_all_and_closes_small_gaps_only(some: Spans, gap: int) -> None:
    found = joined(some, gap)
    assert is_in_order_and_apart(found, gap)
    assert octets(joined(some)) == octets(some)
    extra = joined(np.array([(b, b + 1) for b in octets(found) - octets(some)]).reshape(-1, 2))
    assert octets(some) <= octets(found)
    assert (extra[:, 1] - extra[:, 0] <= gap).all()
    if len(found):
        assert {found[0, 0], found[-1, 1]} <= {*some.ravel().tolist()}


@given(some_spans, some_spans)
def test_missing_is_the_difference(wanted: Spans, there: Spans) -> None:
    found = missing(wanted, there)
    assert is_in_order_and_apart(found)
    assert octets(found) == octets(wanted) - octets(there)


@given(rows(max_size=9), st.booleans(), st.data())
def test_the_tables_and_the_spans_are_enough_to_read(
    samples: list, verify: bool, data: st.DataObject
) -> None:
    content = to_bytes([encode(samples)])
    whole = ChunkView(memoryview(content), "whole", verify=verify)
    numbers = range(len(whole.layout.schema.fields))
    fields = sorted(data.draw(st.sets(st.sampled_from(numbers)))) if numbers else []
    wanted = np.array(data.draw(st.lists(st.integers(0, len(samples) - 1), min_size=1)))

    spans = whole.spans(fields, wanted)
    assert is_in_order_and_apart(spans)
    memory = bytearray(len(content))
    for start, stop in [(0, whole.tables_end), *spans.tolist()]:
        memory[start:stop] = content[start:stop]
    sparse = ChunkView(memoryview(bytes(memory)), "sparse", verify=verify)
    for field in fields:
        if whole.is_column(field):
            assert sparse.take(field, wanted).tobytes() == whole.take(field, wanted).tobytes()
        else:
            for row in wanted.tolist():
                assert sparse.payload(field, row) == whole.payload(field, row)


@given(rows())
def test_the_lead_holds_all_tables_and_small_columns(samples: list) -> None:
    content = to_bytes([encode(samples)])
    view = ChunkView(memoryview(content), "test")
    ends = [column.data.stop for column in view.layout.columns]
    columns = len(content) - view.layout.body_bytes + max(ends, default=0)
    assert view.layout.lead() == max(view.tables_end, columns if columns <= 65_536 else 0)


def test_no_more_than_pages_and_blobs() -> None:
    samples = [{"n": i, "v": np.full(500, i, "<f8"), "t": "t" * i} for i in range(40)]
    view = ChunkView(memoryview(to_bytes([encode(samples)])), "test")
    n, t, v = 0, 1, 2
    assert [field.name for field in view.layout.schema.fields] == ["n", "t", "v"]

    def bytes_of(fields: list[int], *wanted: int) -> int:
        spans = view.spans(fields, np.array(wanted))
        return int((spans[:, 1] - spans[:, 0]).sum())

    page = next(column.page for column in view.layout.columns if column.field == v)
    assert 1 < page < 20
    assert bytes_of([t], 7) == bytes_of([t], 7, 7, 7) == 7
    assert bytes_of([t], 3, 0, 20) == 23
    assert bytes_of([n], 5) == bytes_of([n], 5, 30) == 40 * 8  # one page
    assert bytes_of([v], 0) == bytes_of([v], 0, page - 1) == page * 4_000
    assert bytes_of([v], 0, page) == 2 * page * 4_000
    assert bytes_of([n, v, t], 39) == 320 + 4_000 * (40 % page or page) + 39
    unverified = ChunkView(memoryview(to_bytes([encode(samples)])), "test", verify=False)
    assert (
        unverified.spans([v], np.array([3]))[0, 1] - unverified.spans([v], np.array([3]))[0, 0]
        == 4_000
    )


def test_a_blob_outside_the_chunk_is_an_error_before_anything_is_asked_for() -> None:
    content = bytearray(to_bytes([encode(["text"] * 3)]))
    view = ChunkView(memoryview(content), "abc")
    (group,) = view.layout.groups
    start = len(content) - view.layout.body_bytes + group.offsets.offset
    content[start + 16 : start + 24] = (1 << 60).to_bytes(8, "little")  # where row 2 starts
    assert len(view.spans([0], np.array([0]))) == 1
    with pytest.raises(CorruptData, match="chunk abc, row 1: its blob is bytes 4 to 1152921504"):
        view.spans([0], np.array([0, 1]))
