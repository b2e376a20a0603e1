"""Encrypted datasets that are appended to, overwritten, merged, tampered with, looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from encryption.kinds import PASSWORD, RSA, Reversed, aes, fernet
from encryption.secret_data import ROWS, sample, write
from strategies import same

import millstream as ms
from millstream.errors import CannotDecrypt, UsageError
from millstream.format import ChunkView, Header, Undoing, read_header
from millstream.format.ciphers import known_ciphers
from millstream.utilities.encryption import AESGCMEncryption, Encryption, RSAEncryption

FIRST = [sample(i) for i in range(ROWS)]


def refuse_to_run(i: int) -> Any:
    raise AssertionError("this is refused before any work")


def append(folder: Path, encryption: Encryption | None, fn: Any = None) -> None:
    ms.optimize(
        fn or (lambda i: sample(i + ROWS)), range(5), folder, mode="append", encryption=encryption,
        num_workers=0, verbose=False,
    )  # fmt: skip


def test_an_append_has_the_same_password_with_a_salt_of_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    write(folder, fernet())
    append(folder, fernet(level="chunk"))  # each chunk says its level
    found = ms.StreamingDataset(folder, encryption=fernet())
    assert same(list(found), FIRST + [sample(i + ROWS) for i in range(5)])


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (fernet(), fernet("another"), "encrypted with another one"),
        (fernet(), aes(), "is encrypted with 'fernet'"),
        (fernet(), None, "pass encryption="),
        (None, fernet(), "is not encrypted"),
        (RSA, RSAEncryption(), "is encrypted for the public key"),
        (AESGCMEncryption(key=bytes(32)), aes(), "with a key"),
        (Reversed(), fernet(), "is encrypted with 'custom'"),
    ],
)
def test_what_does_not_open_it_is_not_appended(
    tmp_path: Path, old: Encryption | None, new: Encryption | None, told: str
) -> None:
    folder = tmp_path / "d"
    write(folder, old, rows=20)
    with pytest.raises((CannotDecrypt, UsageError), match=told):
        append(folder, new, refuse_to_run)
    assert len(ms.StreamingDataset(folder, encryption=old)) == 20
    assert not list(folder.glob(".job*"))


def test_who_has_the_public_key_can_append(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    RSA.save_public_key(tmp_path / "public.pem")
    writer = RSAEncryption.load_public_key(tmp_path / "public.pem")
    write(folder, writer, rows=20)
    append(folder, writer)
    assert len(list(ms.StreamingDataset(folder, encryption=RSA))) == 25


def test_an_overwrite_may_have_another(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    write(folder, fernet(), rows=20)
    write(folder, aes("new"), rows=20, mode="overwrite")
    assert same(ms.StreamingDataset(folder, encryption=aes("new"))[3], sample(3))
    assert same(ms.StreamingDataset(folder, encryption=fernet(), version=1)[3], sample(3))


def test_merging_copies_what_it_cannot_read(tmp_path: Path) -> None:
    places = [tmp_path / f"{n}" for n in range(3)]
    for place, key in zip(places, [fernet(), fernet(level="chunk"), None], strict=True):
        write(place, key, rows=20)
    ms.merge_datasets(places, tmp_path / "all", verbose=False)
    merged = ms.StreamingDataset(tmp_path / "all", encryption=fernet())
    assert same(list(merged), FIRST[:20] * 3)
    names = {path.name for place in places for path in (place / "chunks").iterdir()}
    assert {path.name for path in (tmp_path / "all/chunks").iterdir()} == names


def test_an_encrypted_dataset_is_written_again_with_another_password(tmp_path: Path) -> None:
    old = write(tmp_path / "old", fernet(), rows=20)
    ms.optimize(
        lambda s: s, old, tmp_path / "new", encryption=aes("new"), num_workers=2, verbose=False
    )
    assert same(list(ms.StreamingDataset(tmp_path / "new", encryption=aes("new"))), FIRST[:20])


# Rows that are moved --------------------------------------------------------------------------


def chunk(folder: Path) -> bytearray:
    (path,) = (folder / "chunks").iterdir()
    return bytearray(path.read_bytes())


def swapped(content: bytearray) -> bytes:
    """A chunk with its first two rows in each other's places, and checksums that agree."""
    header: Header = read_header(memoryview(bytes(content)))
    (group,) = header.layout.groups
    data, sums = header.body + group.data.offset, header.body + group.sums.offset
    offsets = np.frombuffer(content, "<u8", 3, header.body + group.offsets.offset)
    size = int(offsets[1])
    assert size == int(offsets[2] - offsets[1])
    for at, length in ((data, size), (sums, 8)):
        one, other = content[at : at + length], content[at + length : at + 2 * length]
        content[at : at + 2 * length] = other + one
    return bytes(content)


@pytest.mark.parametrize("key", [aes(), AESGCMEncryption(key=bytes(32)), RSA])
def test_a_row_in_the_place_of_another_does_not_open(tmp_path: Path, key: Encryption) -> None:
    ms.optimize(
        lambda i: {"n": i, "s": "same"}, range(3), tmp_path / "d", encryption=key,
        num_workers=0, verbose=False,
    )  # fmt: skip
    content = chunk(tmp_path / "d")
    known = known_ciphers(key)
    before = ChunkView(memoryview(bytes(content)), "c", undoing=Undoing(known=known))
    assert bytes(before.payload(1, 1)) == b"same"
    after = ChunkView(memoryview(swapped(content)), "c", undoing=Undoing(known=known))
    assert bytes(after.payload(1, 2)) == b"same"
    for row in (0, 1):
        with pytest.raises(CannotDecrypt, match=f"chunk c, row {row}: .*altered or moved"):
            after.payload(1, row)


def test_a_chunk_in_the_place_of_another_does_not_open(tmp_path: Path) -> None:
    """One whose header says that it is another's: of the same key, with the same salt."""
    write(tmp_path / "d", aes(level="chunk"), rows=20)
    content = chunk(tmp_path / "d")
    header = read_header(memoryview(bytes(content)))
    content[32] ^= 1  # its number in the job
    from millstream.format.layout import head_checksum

    content[56:64] = head_checksum(bytes(content[:56]), bytes(content[64 : header.body])).to_bytes(
        8, "little"
    )
    view = ChunkView(memoryview(bytes(content)), "c", undoing=Undoing(known=known_ciphers(aes())))
    with pytest.raises(CannotDecrypt, match=r"chunk c: .*altered or moved"):
        view.payloads([1], np.arange(3))


# The command line -----------------------------------------------------------------------------


def test_the_password_of_no_repr(tmp_path: Path) -> None:
    dataset = write(tmp_path / "d", fernet(), rows=20)
    shown = repr(dataset) + repr(ms.StreamingDataLoader(dataset, batch_size=4))
    assert PASSWORD not in shown
