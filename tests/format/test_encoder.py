"""Laws of encoding: the quick road, columns and files give what one sample after another gives."""

from __future__ import annotations

import gc
import sys
from collections import OrderedDict
from collections.abc import Iterator
from enum import IntEnum
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import DTYPES, arrays, rows, structures, text

from millstream import File, Jpeg, Json
from millstream.errors import SampleError
from millstream.format import Batch, Encoder, Identity, assemble, builtin
from millstream.format import encoder as encoding

IDENTITY = Identity(job=bytes(16), sequence=0)


def to_bytes(encoder: Encoder) -> bytes:
    part = encoder.take()
    return b"" if part is None else b"".join(assemble([part], IDENTITY).pieces)


class Slow(Encoder):
    """Asks the codecs about every sample."""

    def _take_leaves(self, sample: Any) -> bool:
        return False


def slow(example: Any) -> Encoder:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoding, "adder", lambda *of: None)
        return Slow(example, builtin())


def outcome(encoder: Encoder, samples: list[Any]) -> list[str | None]:
    """What each sample says; samples that fail add nothing."""
    said = []
    for sample in samples:
        try:
            encoder.add(sample)
            said.append(None)
        except SampleError as error:
            said.append(str(error))
    return said


@given(rows(), st.data())
def test_the_quick_road_does_what_the_slow_one_does(samples: list, data: st.DataObject) -> None:
    other = data.draw(st.lists(structures.flatmap(lambda some: some), max_size=3))
    mixed = samples[:1] + data.draw(st.permutations(samples[1:] + other))
    quick, sure = Encoder(samples[0], builtin()), slow(samples[0])
    assert outcome(quick, mixed) == outcome(sure, mixed)
    assert quick.rows == sure.rows
    assert to_bytes(quick) == to_bytes(sure)


class Color(IntEnum):
    RED = 1


class Words(dict):  # type: ignore[type-arg]
    pass


EXAMPLE = {"b": b"x", "f": 1.5, "i": 1, "t": "x", "u": True, "v": np.zeros(2, "f4")}
SECOND = np.datetime64(1, "s")


@pytest.mark.parametrize(
    "change",
    [
        {"i": True}, {"i": 1 << 63}, {"i": -(1 << 63) - 1}, {"i": 1.0}, {"i": Color.RED},
        {"i": np.int64(1)}, {"f": 1}, {"f": np.float64(1)}, {"u": 1}, {"u": np.True_},
        {"t": "\ud800"}, {"t": b"x"}, {"t": np.str_("x")}, {"b": bytearray(b"x")}, {"b": None},
        {"v": np.zeros(2, "f8")}, {"v": np.zeros(2, ">f4")}, {"v": [0.0, 0.0]}, {"w": 1},
        {"v": np.zeros(2, "O")}, {"v": np.ma.zeros(2, "f4")}, {"i": "x", "t": "\ud800"},
    ],
)  # fmt: skip
def test_what_departs_is_named_and_leaves_nothing(change: dict[str, Any]) -> None:
    quick, sure = Encoder(EXAMPLE, builtin()), slow(EXAMPLE)
    samples = [EXAMPLE, {**EXAMPLE, **change}, EXAMPLE]
    said = outcome(quick, samples)
    assert said == outcome(sure, samples)
    assert said[1] is not None
    assert repr(next(iter(change))) in said[1] or "64 bits" in said[1] or "surrogate" in said[1]
    assert quick.rows == 2
    assert to_bytes(quick) == to_bytes(sure)


@pytest.mark.parametrize(
    "sample",
    [
        OrderedDict(EXAMPLE),
        {**EXAMPLE, "v": np.zeros((3, 4), "f4")[:, 0]},
        {**EXAMPLE, "v": np.zeros((), "f4")},
        {**EXAMPLE, "i": -(1 << 63)},
    ],
)
def test_what_only_looks_different_is_taken(sample: Any) -> None:
    quick, sure = Encoder(EXAMPLE, builtin()), slow(EXAMPLE)
    for encoder in (quick, sure):
        assert outcome(encoder, [EXAMPLE, sample]) == [None, None]
    assert to_bytes(quick) == to_bytes(sure)


def test_a_subclass_of_dict_is_no_sample() -> None:
    for encoder in (Encoder(EXAMPLE, builtin()), slow(EXAMPLE)):
        assert outcome(encoder, [Words(EXAMPLE)]) != [None]


def test_units_of_time_are_part_of_the_type() -> None:
    encoder = Encoder({"t": SECOND}, builtin())
    assert outcome(encoder, [{"t": SECOND}, {"t": np.datetime64(1, "ms")}])[1] is not None


def test_a_sample_takes_few_calls() -> None:
    sample = {"id": 1, "x": 0.5, "v": np.zeros(16, "f4")}
    encoder = Encoder(sample, builtin())
    calls: list[str] = []

    def note(frame: Any, event: str, argument: Any) -> None:
        if event == "call":
            calls.append(frame.f_code.co_name)

    gc.disable()  # what others hang on to the collector is not ours
    sys.setprofile(note)
    try:
        for _ in range(100):
            encoder.add(sample)
    finally:
        sys.setprofile(None)
        gc.enable()
    # add, made for these samples; the test of the array, its push, its encode.
    assert len(calls) == 400, sorted(set(calls))


# Columns ----------------------------------------------------------------------------------------

# A strategy for columns of n values: what a user would have as many rows.
COLUMNS: list[Any] = [
    *[lambda n, d=d: arrays(d, (n, 3)) for d in DTYPES],
    *[lambda n, d=d: arrays(d, (n,)) for d in DTYPES if "U" not in d],
    lambda n: arrays(">f8", (n, 2, 1)),
    lambda n: st.lists(st.integers(-9, 9), min_size=n, max_size=n),
    lambda n: st.lists(st.floats(), min_size=n, max_size=n),
    lambda n: st.lists(text, min_size=n, max_size=n),
    lambda n: st.lists(st.binary(max_size=9), min_size=n, max_size=n),
    lambda n: st.lists(st.integers(0, 4).map(np.arange), min_size=n, max_size=n),
    lambda n: st.lists(st.integers(0, 4).map(lambda i: [i, "x"]), min_size=n, max_size=n),
    lambda n: st.lists(st.integers(0, 4).map(lambda i: Json([i])), min_size=n, max_size=n),
]


@given(st.data())
def test_columns_are_their_rows_one_by_one(data: st.DataObject) -> None:
    lengths = [3, *data.draw(st.lists(st.integers(0, 5), max_size=3))]
    kinds = data.draw(st.lists(st.sampled_from(COLUMNS), min_size=1, max_size=4))
    batches = [{f"c{i}": data.draw(kind(n)) for i, kind in enumerate(kinds)} for n in lengths]
    one_by_one = [
        {name: column[i] for name, column in batch.items()}
        for batch, n in zip(batches, lengths, strict=True)
        for i in range(n)
    ]
    many, single = (Encoder(one_by_one[0], builtin()) for _ in range(2))
    for batch in batches:
        many.add_batch(Batch(batch))
    assert outcome(single, one_by_one) == [None] * len(one_by_one)
    assert many.rows == len(one_by_one)
    assert to_bytes(many) == to_bytes(single)


def test_tensors_are_columns() -> None:
    torch = pytest.importorskip("torch")
    column = {"a": torch.arange(12, dtype=torch.bfloat16).reshape(4, 3), "b": torch.arange(4)}
    samples = [{name: values[i] for name, values in column.items()} for i in range(4)]
    many, single = (Encoder(samples[0], builtin()) for _ in range(2))
    many.add_batch(Batch(column))
    outcome(single, samples)
    assert to_bytes(many) == to_bytes(single)


GOOD = {
    "a": np.zeros((2, 3), "f4"),
    "b": ["x", "y"],
    "i": [1, 2],
    "t": [SECOND, SECOND],
    "v": [np.zeros(2, "f4"), np.zeros(3, "f4")],
}


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({**GOOD, "a": np.zeros((2, 3), "f8")}, "'a' is ndarray.*<f8.*<f4"),
        ({**GOOD, "b": ["x", 3]}, "'b' is int"),
        ({**GOOD, "b": np.zeros(2)}, "'b' is scalar.*<f8.*str"),
        ({**GOOD, "i": [1, True]}, "'i' is bool"),
        ({**GOOD, "i": [1, 1 << 63]}, "64 bits"),
        ({**GOOD, "i": np.zeros(2, "i8")}, "'i' is scalar"),
        ({**GOOD, "t": [SECOND, np.datetime64(1, "ms")]}, "'t' is scalar.*ms"),
        ({**GOOD, "v": [np.zeros(2, "f4"), np.zeros(3, "f8")]}, "'v' is ndarray.*<f8.*<f4"),
        ({"a": GOOD["a"]}, "dict with the keys"),
    ],
)
def test_a_bad_row_of_a_batch_is_said_like_a_bad_sample(bad: Any, words: str) -> None:
    encoder = Encoder(Batch(GOOD).row(0), builtin())
    encoder.add_batch(Batch(GOOD))
    with pytest.raises(SampleError, match=words):
        encoder.add_batch(Batch(bad))
    assert encoder.rows in (2, 3)  # those before the bad one were good


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"a": [1], "b": {"c": np.zeros(2)}}, "'b.c' of a batch has 2 rows.*'a' has 1"),
        ({"a": [1], "b": "x"}, "'b' of a batch is a str; expected a list"),
        ({"a": np.float32(1)}, "'a' of a batch is a float32"),
        ({"a": np.zeros(())}, "'a' of a batch is an array without an axis"),
        ({"a": None}, "no column"),
    ],
)
def test_what_is_no_batch_is_said(value: Any, words: str) -> None:
    with pytest.raises(SampleError, match=words):
        Batch(value)


# Files ------------------------------------------------------------------------------------------


@pytest.fixture
def jpeg(tmp_path: Path) -> Path:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"\xff\xd8\xff\xe0 rest")
    return path


def test_a_wrapper_knows_its_file(jpeg: Path, tmp_path: Path) -> None:
    assert Jpeg(path=jpeg).source == File(str(jpeg)).source
    assert Jpeg(bytes=jpeg.read_bytes()).source is None
    other = tmp_path / "b.txt"
    other.write_text("words")
    with pytest.raises(SampleError, match=r"b\.txt is not a JPEG file"):
        Jpeg(path=other)
    with pytest.raises(SampleError, match="one of them"):
        Jpeg(path=jpeg, bytes=b"x")
    with pytest.raises(SampleError, match="regular"):
        File(tmp_path)
    with pytest.raises(FileNotFoundError):
        File(tmp_path / "c")


def test_files_are_slices_of_parts_too(tmp_path: Path) -> None:
    def samples() -> Iterator[dict[str, Any]]:
        for i in range(6):
            path = tmp_path / f"{i}"
            path.write_bytes(b"%d" % i * (i * 7 % 11))
            yield {"a": "x" * i, "f": File(path), "n": i, "z": File(path) if i % 2 else b"inline"}

    encoder = Encoder(next(samples()), builtin(), lambda source: True)
    for sample in samples():
        encoder.add(sample)
    whole = encoder.take()
    assert whole is not None
    assert whole.blobs is not None
    assert len(whole.blobs.files) == 9
    for a, b in pairwise([0, 1, 4, 6]):
        part = whole.slice(a, b).blobs
        assert part is not None
        assert int(part.held().sum()) == len(part.data)
        assert all(0 <= row < b - a for row, _, _ in part.files)
