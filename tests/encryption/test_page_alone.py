"""What docs/format.md says of encryption is enough to read a dataset, with the library cryptography
and nothing of ours."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from hashlib import pbkdf2_hmac, sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from encryption.kinds import KEY, PASSWORD, RSA, aes, fernet
from encryption.secret_data import ROWS, sample, write
from small_reader import Decrypt, small_dataset
from strategies import same

from millstream.utilities.encryption import AESGCMEncryption, Encryption

Filter = dict[str, Any]


def hkdf(key: bytes, info: bytes, salt: bytes | None = None, length: int = 32) -> bytes:
    return HKDF(SHA256(), length, salt, info).derive(key)


def key_of(one: Filter) -> bytes:
    if "kdf" not in one:
        return KEY
    kdf = one["kdf"]
    assert kdf["name"] == "pbkdf2-hmac-sha256"
    salt = bytes.fromhex(kdf["salt"])
    return pbkdf2_hmac("sha256", PASSWORD.encode(), salt, kdf["iterations"])


def by_fernet(one: Filter, content: bytes, place: bytes) -> bytes:
    assert one["name"] == "fernet"
    opened = Fernet(urlsafe_b64encode(key_of(one)))
    assert opened.decrypt(one["check"]) == b""
    return opened.decrypt(content)


def by_aes(one: Filter, content: bytes, place: bytes) -> bytes:
    assert one["name"] == "aes-gcm"
    key = key_of(one)
    assert hkdf(key, b"millstream check", length=16).hex() == one["check"]
    key = hkdf(key, b"millstream chunk", bytes.fromhex(one["salt"]))
    return AESGCM(key).decrypt(content[:12], content[12:], place)


def by_rsa(pem: bytes) -> Decrypt:
    private = load_pem_private_key(pem, PASSWORD.encode())
    info = PublicFormat.SubjectPublicKeyInfo
    der = private.public_key().public_bytes(Encoding.DER, info)

    def decrypt(one: Filter, content: bytes, place: bytes) -> bytes:
        assert (one["name"], one["public"]) == ("rsa", sha256(der).digest()[:16].hex())
        padding = OAEP(mgf=MGF1(SHA256()), algorithm=SHA256(), label=None)
        key = private.decrypt(bytes.fromhex(one["key"]), padding)  # type: ignore[union-attr]
        return AESGCM(key).decrypt(content[:12], content[12:], place)

    return decrypt


@pytest.mark.parametrize("compression", [None, "zstd"])
@pytest.mark.parametrize("level", ["sample", "chunk"])
@pytest.mark.parametrize("name", ["fernet", "aes-gcm", "aes-gcm with a key", "rsa"])
def test_the_page_is_enough(tmp_path: Path, name: str, level: Any, compression: str | None) -> None:
    RSA.save_private_key(tmp_path / "private.pem")
    kinds: dict[str, tuple[Encryption, Decrypt]] = {
        "fernet": (fernet(level=level), by_fernet),
        "aes-gcm": (aes(level=level), by_aes),
        "aes-gcm with a key": (AESGCMEncryption(key=KEY, level=level), by_aes),
        "rsa": (
            type(RSA).load_private_key(tmp_path / "private.pem", PASSWORD, level),
            by_rsa((tmp_path / "private.pem").read_bytes()),
        ),
    }
    key, decrypt = kinds[name]
    write(tmp_path / "d", key, compression=compression)
    assert same(small_dataset(tmp_path / "d", decrypt), [sample(i) for i in range(ROWS)])


def test_a_key_file_is_as_the_page_says(tmp_path: Path) -> None:
    import json

    AESGCMEncryption(PASSWORD, "chunk", key=KEY).save(tmp_path / "key")
    file = json.loads((tmp_path / "key").read_text())
    key = hkdf(key_of(file), b"millstream key file")
    sealed = bytes.fromhex(file["sealed"])
    content = AESGCM(key).decrypt(sealed[:12], sealed[12:], file["millstream"].encode())
    assert json.loads(content) == {"level": "chunk", "key": KEY.hex()}
