"""Key files: they open with their password, and show nothing."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from encryption.kinds import KEY, PASSWORD, RSA, aes, fernet
from hypothesis import given
from hypothesis import strategies as st

from millstream.errors import CannotDecrypt, StorageError, UsageError
from millstream.utilities.encryption import AESGCMEncryption, FernetEncryption, RSAEncryption


@pytest.mark.parametrize("kind", [fernet(level="chunk"), aes(level="chunk")], ids=["fernet", "aes"])
def test_what_was_saved_is_loaded_by_class_and_by_object(
    kind: FernetEncryption, tmp_path: Path
) -> None:
    path = tmp_path / "key.pem"
    kind.save(path)
    sealed = kind.encrypt(b"data")
    by_class = type(kind).load(path, PASSWORD)
    one = type(kind)(PASSWORD)
    by_object = one.load(str(path))
    assert by_object is one
    for loaded in (by_class, by_object):
        assert loaded.decrypt(sealed) == b"data"
        assert loaded.level == "chunk"
        assert loaded.sealing().shared["kdf"] == kind.sealing().shared["kdf"]


def test_the_file_holds_neither_password_nor_key(tmp_path: Path) -> None:
    kinds = [fernet(), aes(), AESGCMEncryption(PASSWORD, key=KEY)]
    for kind in kinds:
        kind.save(tmp_path / "key")
        content = (tmp_path / "key").read_bytes()
        made = kind._password.key(kind._kdf)
        for secret in (PASSWORD.encode(), KEY, made):
            assert secret not in content
            assert secret.hex().encode() not in content
        assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_a_key_that_was_given_is_saved_under_a_password(tmp_path: Path) -> None:
    AESGCMEncryption(PASSWORD, key=KEY).save(tmp_path / "key")
    loaded = AESGCMEncryption.load(tmp_path / "key", PASSWORD)
    parameters, cipher = AESGCMEncryption(key=KEY).sealing().chunk()
    assert loaded.cipher(parameters).open(cipher.seal(b"data", b""), b"") == b"data"
    with pytest.raises(UsageError, match="no password to save its key under"):
        AESGCMEncryption(key=KEY).save(tmp_path / "key")


def test_a_wrong_password_is_named(tmp_path: Path) -> None:
    fernet().save(tmp_path / "key")
    with pytest.raises(CannotDecrypt, match="the password does not open the key file"):
        FernetEncryption.load(tmp_path / "key", "other")
    with pytest.raises(CannotDecrypt, match="the password does not open the key file"):
        FernetEncryption("other").load(tmp_path / "key")
    with pytest.raises(UsageError, match="needs the password"):
        FernetEncryption.load(tmp_path / "key")
    with pytest.raises(CannotDecrypt, match="a key file of 'fernet', not of 'aes-gcm'"):
        AESGCMEncryption.load(tmp_path / "key", PASSWORD)


def test_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        FernetEncryption.load(tmp_path / "none", PASSWORD)
    with pytest.raises(StorageError):
        fernet().save(tmp_path / "none" / "key")
    (tmp_path / "long").write_bytes(bytes(100_000))
    with pytest.raises(CannotDecrypt, match="no key file"):
        FernetEncryption.load(tmp_path / "long", PASSWORD)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("key") / "key"
    aes().save(path)
    return path


@given(data=st.data())
def test_any_other_file_is_an_error(saved: Path, data: st.DataObject) -> None:
    content = json.loads(saved.read_text())
    name = data.draw(st.sampled_from(sorted(content)))
    other = data.draw(st.one_of(st.none(), st.integers(), st.text(max_size=5), st.just({})))
    changed = json.dumps({**content, name: other}).encode()
    if data.draw(st.booleans()):
        changed = data.draw(st.binary(max_size=40))
    path = saved.with_name("changed")
    path.write_bytes(changed)
    with pytest.raises(CannotDecrypt):
        AESGCMEncryption.load(path, PASSWORD)


def test_the_keys_of_rsa_are_pem(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    private, public = tmp_path / "private.pem", tmp_path / "public.pem"
    RSA.save_private_key(private)
    RSA.save_public_key(public)
    assert b"ENCRYPTED PRIVATE KEY" in private.read_bytes()
    load_pem_private_key(private.read_bytes(), PASSWORD.encode())
    sealed = RSAEncryption.load_public_key(public).encrypt(b"data")
    assert RSAEncryption.load_private_key(private, PASSWORD).decrypt(sealed) == b"data"
    one = RSAEncryption(PASSWORD)
    assert one.load_private_key(private) is one
    assert one.decrypt(sealed) == b"data"
    with pytest.raises(CannotDecrypt, match="does not open"):
        RSAEncryption.load_private_key(private, "other")
    with pytest.raises(CannotDecrypt, match="no public key"):
        RSAEncryption.load_public_key(private)
    with pytest.raises(UsageError, match="under a password"):
        RSAEncryption().save_private_key(private)


def test_keys_of_other_kinds_and_sizes_are_refused(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
        PublicFormat,
    )

    for key, wrong in [
        (ec.generate_private_key(ec.SECP256R1()), "of another kind than RSA"),
        (rsa.generate_private_key(65_537, 1024), "of 1024 bits"),
    ]:
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (tmp_path / "private").write_bytes(pem)
        pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (tmp_path / "public").write_bytes(pem)
        with pytest.raises(CannotDecrypt, match=wrong):
            RSAEncryption.load_private_key(tmp_path / "private")
        with pytest.raises(CannotDecrypt, match=wrong):
            RSAEncryption.load_public_key(tmp_path / "public")
