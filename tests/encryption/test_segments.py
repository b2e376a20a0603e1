"""Segments of encrypted jobs: nothing in them can be read without the key of the job."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from encryption.kinds import Reversed, aes, fernet
from format.test_chunk_laws import encode
from hypothesis import given
from hypothesis import strategies as st
from strategies import rows

from millstream.encryption.library import Aes
from millstream.errors import CannotDecrypt
from millstream.format import Identity, Part, assemble
from millstream.utilities.encryption import Encryption, RSAEncryption
from millstream.writing.sealing import begin_sealing, job_sealing
from millstream.writing.segment import SegmentWriter, Skipped
from millstream.writing.segment_reading import has_segment, read_segment

SECRET = "a name that nobody is to see"
SKIPPED = [Skipped(input=3, error=f"ValueError: {SECRET}", kept=0)]


def write(folder: Path, parts: list[Part], cipher: Aes | None, name: str = "000003") -> Path:
    final = folder / name
    with SegmentWriter(folder / "temporary", name, cipher) as writer:
        for part in parts:
            writer.add(part)
        writer.finish(SKIPPED, 0)
        writer.path.replace(final)
    return final


def content(part: Part) -> list[bytes]:
    return list(map(bytes, assemble([part], Identity(job=bytes(16), sequence=0)).pieces))


@given(samples=rows(max_size=6), key=st.binary(min_size=32, max_size=32))
def test_what_is_written_comes_back(
    tmp_path_factory: pytest.TempPathFactory, samples: list, key: bytes
) -> None:
    folder, cipher = tmp_path_factory.mktemp("segment"), Aes.of(key)
    parts = [encode(samples), encode(samples[:1])]
    plain = read_segment(write(folder, parts, None, "plain"))
    path = write(folder, parts, cipher)
    opened = read_segment(path, cipher, opened={0, 1})
    assert list(map(content, opened.parts)) == list(map(content, plain.parts))
    # One whose rows nobody wants says how long they are, and that is all.
    shut = read_segment(path, cipher)
    assert (shut.nbytes, shut.held, shut.skipped) == (plain.nbytes, plain.held, plain.skipped)
    for one, other in zip(shut.parts, plain.parts, strict=True):
        assert one.rows == other.rows
        for field, arrays in one.arrays.items():
            assert arrays.shapes == other.arrays[field].shapes
            assert len(arrays.data) == len(other.arrays[field].data)
            assert not arrays.data.any()
        if one.blobs is not None and other.blobs is not None:
            assert one.blobs.sizes.tolist() == other.blobs.sizes.tolist()


def test_nothing_of_the_rows_is_in_the_file(tmp_path: Path) -> None:
    part = encode([{"name": SECRET, "n": np.frombuffer(SECRET.encode(), "u1")}] * 3)
    plain = write(tmp_path, [part], None, "plain").read_bytes()
    assert plain.count(SECRET.encode()) == 7  # so this would be seen
    assert b'"name"' in plain.replace(b"\\", b"")
    sealed = write(tmp_path, [part], Aes.of(bytes(32))).read_bytes()
    assert SECRET.encode() not in sealed
    assert b"name" not in sealed


def test_a_segment_of_another_key_or_place_is_none(tmp_path: Path) -> None:
    cipher = Aes.of(bytes(32))
    path = write(tmp_path, [encode([{"name": SECRET}])], cipher)
    assert has_segment(path, cipher)
    assert not has_segment(path, Aes.of(os.urandom(32)))
    path.rename(path.with_name("000004"))
    assert not has_segment(path.with_name("000004"), cipher)


@pytest.mark.parametrize("kind", [fernet(), aes(), Reversed()], ids=["fernet", "aes", "custom"])
def test_a_job_that_goes_on_has_its_key_again(kind: Encryption) -> None:
    noted = begin_sealing(kind)
    first, again = job_sealing(kind, noted), job_sealing(kind, noted)
    assert first.key == again.key
    assert first.key.hex() not in str(noted)
    assert first.chunks.shared == again.chunks.shared == noted["shared"]
    assert repr(first.key) not in repr(first)


def test_with_another_password_it_does_not_go_on() -> None:
    with pytest.raises(CannotDecrypt, match="unfinished job here"):
        job_sealing(fernet("other"), begin_sealing(fernet()))


def test_a_writer_with_the_public_key_alone_goes_on_without_segments(tmp_path: Path) -> None:
    RSAEncryption().save_public_key(tmp_path / "public.pem")
    writer = RSAEncryption.load_public_key(tmp_path / "public.pem")
    noted = begin_sealing(writer)
    first, again = job_sealing(writer, noted), job_sealing(writer, noted)
    assert first.key != again.key
    path = write(tmp_path, [encode([1])], first.segments)
    assert not has_segment(path, again.segments)
