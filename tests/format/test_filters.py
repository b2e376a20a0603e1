"""Laws of filters: what passes through any of them comes back, and nothing else ever does."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_reader import SmallChunk
from strategies import rows, same
from test_chunk_laws import IDENTITY, encode, read

from millstream.errors import CorruptData, MillstreamError, UnsupportedError
from millstream.format import ChunkView, Part, assemble, object_bytes
from millstream.format.filters import Setting, Unit
from millstream.format.packing import Packing
from millstream.format.view import BUILTIN
from millstream.format.zstd import MakeZstd, Zstd


class Always(Zstd):
    """Compresses also what gets no smaller, so that small samples test it."""

    is_optional = False


@dataclass(frozen=True)
class MakeAlways:
    with_dictionary: bool = False

    def __call__(self, setting: Setting) -> Always:
        return Always(3, setting.dictionary if self.with_dictionary else None)


class Cipher:
    """Not secret, but like a cipher: a salt for each chunk, and each unit otherwise."""

    is_optional = False

    def __init__(self, salt: str, setting: Setting) -> None:
        self.spec = {"name": "cipher", "salt": salt}
        self._key = f"{salt}{setting.identity}"

    def _mixed(self, content: bytes, unit: Unit) -> bytes:
        seed = abs(hash((self._key, unit)))
        stream = np.random.default_rng(seed).integers(0, 256, len(content), np.uint8)
        return (np.frombuffer(content, np.uint8) ^ stream).tobytes()

    def apply(self, content: bytes, unit: Unit) -> bytes:
        return b"tag!" + self._mixed(content, unit)

    def undo(self, content: bytes, unit: Unit, size: int | None) -> bytes:
        if content[:4] != b"tag!":
            raise CorruptData("is not what was encrypted")
        return self._mixed(content[4:], unit)


def make_cipher(setting: Setting) -> Cipher:
    return Cipher("s" + str(setting.identity.sequence), setting)


DICTIONARY = b"".join(b"text %d and words " % n for n in range(200))
ZSTD, CIPHER = MakeAlways(), make_cipher
PACKINGS = {
    "rows": Packing(rows=(ZSTD,), pages=(ZSTD,)),
    "dictionary": Packing(rows=(MakeAlways(True),), pages=(ZSTD,), dictionary=DICTIONARY),
    "frames": Packing(pages=(ZSTD,), blob_page=16),
    "chunk": Packing(body=(ZSTD,)),
    "both": Packing(rows=(MakeAlways(True),), pages=(ZSTD,), body=(ZSTD,), dictionary=DICTIONARY),
    "no columns": Packing(rows=(ZSTD,), whole_rows=True),
}
SECRET = {
    "sample": Packing(rows=(CIPHER,), pages=(CIPHER,), whole_rows=True),
    "packed sample": Packing(rows=(ZSTD, CIPHER), pages=(ZSTD, CIPHER), whole_rows=True),
    "chunk": Packing(body=(CIPHER,)),
    "packed chunk": Packing(rows=(ZSTD,), pages=(ZSTD,), body=(ZSTD, CIPHER)),
}
KNOWN = {**BUILTIN, "cipher": lambda spec, setting: Cipher(str(spec["salt"]), setting)}


def to_bytes(parts: list[Part], packing: Packing) -> bytes:
    return b"".join(assemble(parts, IDENTITY, packing).pieces)


@pytest.mark.parametrize("how", PACKINGS)
@given(rows())
@settings(max_examples=25)
def test_what_is_written_comes_back(how: str, samples: list) -> None:
    content = to_bytes([encode(samples)], PACKINGS[how])
    for found in (read(content), SmallChunk(content).samples()):
        assert len(found) == len(samples)
        assert all(map(same, found, samples))


@pytest.mark.parametrize("how", PACKINGS)
def test_all_of_it_is_filtered(how: str) -> None:
    samples = [{"text": "words", "n": 1 << 60, "array": np.ones(i % 3)} for i in range(20)]
    content = to_bytes([encode(samples)], PACKINGS[how])
    layout = ChunkView(memoryview(content), "test").layout
    assert layout.body or all(part.filters for part in (*layout.columns, *layout.groups))
    assert layout.filters and (layout.dictionary is not None) == (how in ("dictionary", "both"))


@pytest.mark.parametrize("how", SECRET)
@given(rows().filter(lambda samples: encode(samples).schema.fields))
@settings(max_examples=25)
def test_filters_of_others_come_back_to_who_knows_them(how: str, samples: list) -> None:
    content = to_bytes([encode(samples)], SECRET[how])
    found = read(content, KNOWN)
    assert len(found) == len(samples)
    assert all(map(same, found, samples))
    with pytest.raises(UnsupportedError, match="'cipher', which is not known"):
        read(content)


@pytest.mark.parametrize("how", SECRET)
def test_nothing_of_the_rows_passes_by_a_cipher(how: str) -> None:
    samples = [
        {"text": f"words of text {i}", "number": 0x4142434445464748, "array": np.arange(i % 3)}
        for i in range(20)
    ]
    content = to_bytes([encode(samples)], SECRET[how])
    assert b"words" not in content and b"HGFEDCBA" not in content
    assert len(read(content, KNOWN)) == 20


@pytest.mark.parametrize("how", PACKINGS)
@given(rows(max_size=9), st.data())
@settings(max_examples=15)
def test_how_rows_were_grouped_leaves_no_trace(
    how: str, samples: list, data: st.DataObject
) -> None:
    at = data.draw(st.integers(1, len(samples)))
    parts = [encode(samples[:at])] + ([encode(samples[at:])] if samples[at:] else [])
    assert to_bytes(parts, PACKINGS[how]) == to_bytes([encode(samples)], PACKINGS[how])


@pytest.mark.parametrize("how", PACKINGS)
@given(rows(max_size=5))
@settings(max_examples=15)
def test_the_header_says_how_long_the_object_is(how: str, samples: list) -> None:
    chunk = assemble([encode(samples)], IDENTITY, PACKINGS[how])
    assert chunk.size == object_bytes(chunk.layout)


@pytest.mark.parametrize("how", PACKINGS)
@given(rows(max_size=5), st.data())
@settings(max_examples=60)
def test_a_changed_byte_is_never_other_data(how: str, samples: list, data: st.DataObject) -> None:
    content = bytearray(to_bytes([encode(samples)], PACKINGS[how]))
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        found = read(bytes(content))
    except MillstreamError:
        return
    assert len(found) == len(samples)
    assert all(map(same, found, samples))


def test_each_unit_of_a_chunk_is_named_once() -> None:
    seen: list[Unit] = []

    class Noting(Cipher):
        def apply(self, content: bytes, unit: Unit) -> bytes:
            seen.append(unit)
            return super().apply(content, unit)

    samples = [{"t": "x" * i, "n": i, "a": np.arange(i), "b": b"y"} for i in range(9)]
    make = [lambda setting: Noting("s", setting)]
    to_bytes([encode(samples)], Packing(rows=make, pages=make, body=make))
    assert len(seen) == len(set(seen)) == 1 + 2 * 9 + 1


def test_what_gets_no_smaller_is_stored_as_it_is() -> None:
    noise = np.random.default_rng(0)
    samples = [
        {"noise": noise.bytes(100), "text": "the same " * 9, "a": noise.random(4), "n": 7}
        for _ in range(40)
    ]
    zstd = MakeZstd(level=3)
    chunk = assemble([encode(samples)], IDENTITY, Packing(rows=(zstd,), pages=(zstd,)))
    names = [field.name for field in chunk.layout.schema.fields]
    packed = {names[f] for group in chunk.layout.groups if group.filters for f in group.fields}
    packed |= {names[column.field] for column in chunk.layout.columns if column.filters}
    assert packed == {"text", "n"}
    found = read(b"".join(chunk.pieces))
    assert all(map(same, found, samples))


def test_without_a_use_for_filters_the_bytes_are_those_of_none() -> None:
    samples = [np.random.default_rng(n).bytes(5_000) for n in range(9)]
    zstd = MakeZstd(level=19)
    for packing in (
        Packing(rows=(zstd,), pages=(zstd,)),
        Packing(pages=(zstd,), blob_page=4096),
        Packing(body=(zstd,)),
    ):
        assert to_bytes([encode(samples)], packing) == to_bytes([encode(samples)], Packing())


# What must not be believed --------------------------------------------------------------------


def rewritten(samples: list, packing: Packing, **changes: object) -> bytes:
    """A chunk whose header says something else about its first group or its body."""
    chunk = assemble([encode(samples)], IDENTITY, packing)
    layout = chunk.layout
    body = b"".join(chunk.pieces[2:])
    if layout.body is not None:
        layout = replace(layout, body=replace(layout.body, **changes))
    else:
        layout = replace(layout, groups=(replace(layout.groups[0], **changes),))
    from millstream.format.layout import preamble

    header = layout.header()
    return preamble(layout, header, IDENTITY) + header + body


TEXTS = ["text and words " * 9] * 30


@pytest.mark.parametrize(
    ("how", "changes"),
    [
        ("chunk", {"raw": 1 << 40}),
        ("frames", {"raw": 1 << 40, "page": 1 << 40}),
        ("frames", {"raw": 1 << 40}),
        ("chunk", {"raw": 100}),
        ("frames", {"page": 0}),
        ("rows", {"filters": ({"name": "zstd", "level": 99},)}),
        ("rows", {"filters": ({"name": "zstd", "level": 3, "dictionary": True},)}),
        ("rows", {"filters": ({"name": "zstd"},)}),
    ],
)
def test_a_header_that_asks_for_too_much_is_an_error(how: str, changes: dict) -> None:
    with pytest.raises(CorruptData):
        read(rewritten(TEXTS, PACKINGS[how], **changes))


def test_a_frame_is_not_believed_before_it_is_opened() -> None:
    bomb = Zstd(3, None).apply(bytes(1 << 24), Unit("blobs"))
    with pytest.raises(CorruptData, match="says that it holds 16,777,216, where 1,000 may be"):
        Zstd(3, None).undo(bomb, Unit("blobs"), 1_000)
    # A frame header that promises 2^40 bytes: magic, an 8-byte length, and no block.
    lie = b"\x28\xb5\x2f\xfd" + b"\xe0" + (1 << 40).to_bytes(8, "little") + b"\x01\x00\x00"
    with pytest.raises(CorruptData, match="says that it holds 1,099,511,627,776"):
        Zstd(3, None).undo(lie, Unit("blobs"), None)
    with pytest.raises(CorruptData):
        Zstd(3, None).undo(b"not zstd", Unit("blobs"), None)


def test_the_wrong_dictionary_is_a_clear_error() -> None:
    from millstream.format.zstd import train

    texts = [f"some words in text number {n}".encode() for n in range(4000)]
    one, other = train(texts, 4096), train([t[::-1] for t in texts], 4096)
    assert one and other and one == train(texts, 4096)
    stored = Zstd(3, one).apply(texts[0], Unit("blobs"))
    assert Zstd(3, one).undo(stored, Unit("blobs"), None) == texts[0]
    for wrong in (other, None):
        with pytest.raises(CorruptData, match=r"[Dd]ictionary"):
            Zstd(3, wrong).undo(stored, Unit("blobs"), None)


def test_problems_are_found_in_every_kind_of_part() -> None:
    samples = [{"text": f"text {n} and words " * 3, "n": n // 7} for n in range(50)]
    for how, packing in PACKINGS.items():
        content = bytearray(to_bytes([encode(samples)], packing))
        content[-20] ^= 1
        found = list(ChunkView(memoryview(content), "abc").problems())
        assert found, how
        assert all(str(one.error).startswith("chunk abc") for one in found)
