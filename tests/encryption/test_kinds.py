"""Laws of every kind of encryption, as the format uses it."""

from __future__ import annotations

import json
import pickle
import threading
from typing import Any

import pytest
from encryption.kinds import KEY, NAMES, PASSWORD, RSA, Reversed, aes, all_kinds, fernet, quick
from hypothesis import given
from hypothesis import strategies as st

from millstream.encryption import Cipher, Parameters, check_encryption
from millstream.encryption.passwords import Kdf, Password
from millstream.errors import CannotDecrypt, FunctionError, UnsupportedError, UsageError
from millstream.utilities.encryption import (
    AESGCMEncryption,
    Encryption,
    FernetEncryption,
    RSAEncryption,
)

KINDS = all_kinds()
every_kind = pytest.mark.parametrize("kind", KINDS, ids=NAMES)
# Those whose ciphertexts are authenticated; the subclass of the tests is not.
ours = pytest.mark.parametrize("kind", KINDS[:-1], ids=NAMES[:-1])
OTHERS = [fernet("other"), aes("other"), AESGCMEncryption(key=bytes(32)), RSAEncryption()]


def chunk_of(kind: Encryption) -> tuple[Parameters, Cipher]:
    """One chunk's parameters, as they come back from its header, and its cipher."""
    parameters, cipher = pickle.loads(pickle.dumps(kind.sealing())).chunk()
    return json.loads(json.dumps(parameters)), cipher


@every_kind
@given(data=st.binary(max_size=200), place=st.binary(max_size=40))
def test_what_is_sealed_opens_with_what_the_chunk_says(
    kind: Encryption, data: bytes, place: bytes
) -> None:
    parameters, cipher = chunk_of(kind)
    sealed = cipher.seal(memoryview(data), place)
    assert kind.cipher(parameters).open(memoryview(sealed), place) == data
    assert kind.decrypt(kind.encrypt(data)) == data


@every_kind
@given(content=st.binary(max_size=120))
def test_other_bytes_raise_the_named_error_only(kind: Encryption, content: bytes) -> None:
    parameters, _ = CHUNKS[NAMES[KINDS.index(kind)]]
    if isinstance(kind, Reversed) and content[:1] + content[-1:] == b"<>":
        return
    with pytest.raises(CannotDecrypt):
        kind.cipher(parameters).open(memoryview(content), b"")


CHUNKS = {name: chunk_of(kind) for name, kind in zip(NAMES, KINDS, strict=True)}


@ours
@given(data=st.data())
def test_a_changed_bit_raises_the_named_error(kind: Encryption, data: st.DataObject) -> None:
    """But for the last bits of base64, which stand for nothing."""
    parameters, cipher = CHUNKS[NAMES[KINDS.index(kind)]]
    sealed = bytearray(cipher.seal(b"some sample", b"place"))
    at = data.draw(st.integers(0, len(sealed) - 1))
    sealed[at] ^= 1 << data.draw(st.integers(0, 7))
    try:
        opened = kind.cipher(parameters).open(sealed, b"place")
    except CannotDecrypt:
        return
    assert isinstance(kind, FernetEncryption)
    assert (opened, at >= len(sealed) - 4) == (b"some sample", True)


@every_kind
@given(
    found=st.dictionaries(
        st.sampled_from(["name", "kdf", "check", "salt", "key", "public", "class"]),
        st.one_of(
            st.none(), st.integers(), st.text(max_size=9), st.dictionaries(st.text(), st.text())
        ),
    )
)
def test_any_parameters_raise_the_named_error_only(kind: Encryption, found: dict[str, Any]) -> None:
    parameters, _ = CHUNKS[NAMES[KINDS.index(kind)]]
    for wrong in ({**found}, {**parameters, **found}):
        if all(parameters[key] == wrong.get(key) for key in parameters):
            continue
        try:
            kind.cipher(wrong)
        except CannotDecrypt:
            continue
        # A number that changes nothing: the class of a subclass, the key of another chunk.
        assert {key for key in wrong if wrong[key] != parameters.get(key)} <= {
            "class",
            "kdf",
            "salt",
            "key",
            "public",
        }


@ours
def test_another_password_or_key_is_told_from_damage(kind: Encryption) -> None:
    parameters, _ = CHUNKS[NAMES[KINDS.index(kind)]]
    other = OTHERS[KINDS.index(kind)]
    for ask in (other.cipher, other.check, other.sealing):
        with pytest.raises(CannotDecrypt, match=r"was encrypted with another one|is encrypted for"):
            ask(parameters)
    kind.check(parameters)


@pytest.mark.parametrize("kind", KINDS, ids=NAMES)
@pytest.mark.parametrize("other", KINDS, ids=NAMES)
def test_one_kind_does_not_open_another(kind: Encryption, other: Encryption) -> None:
    if kind is not other:
        with pytest.raises(CannotDecrypt, match="is encrypted with"):
            other.cipher(CHUNKS[NAMES[KINDS.index(kind)]][0])


@pytest.mark.parametrize("kind", [aes(), AESGCMEncryption(key=KEY), RSA], ids=NAMES[1:4])
def test_a_ciphertext_is_bound_to_its_place(kind: Encryption) -> None:
    parameters, cipher = chunk_of(kind)
    sealed = cipher.seal(b"data", b"row 1")
    with pytest.raises(CannotDecrypt, match="altered or moved"):
        kind.cipher(parameters).open(sealed, b"row 2")


@ours
def test_the_same_data_never_gives_the_same_ciphertext(kind: Encryption) -> None:
    _, cipher = chunk_of(kind)
    assert len({cipher.seal(b"data", b"") for _ in range(100)}) == 100


@ours
def test_chunks_have_fresh_keys_or_fresh_salts(kind: Encryption) -> None:
    sealing = kind.sealing()
    first, second = sealing.chunk()[0], sealing.chunk()[0]
    assert (first == second) == isinstance(kind, FernetEncryption)
    assert {**first, **sealing.shared} == first


def test_a_job_derives_one_key_and_its_workers_none(monkeypatch: pytest.MonkeyPatch) -> None:
    import hashlib

    derived: list[int] = []
    derive = hashlib.pbkdf2_hmac

    def counted(*args: Any) -> bytes:
        derived.append(args[3])
        return derive(*args)

    monkeypatch.setattr(hashlib, "pbkdf2_hmac", counted)
    for kind in (FernetEncryption(PASSWORD), AESGCMEncryption(PASSWORD)):
        del derived[:]
        sealing = pickle.loads(pickle.dumps(kind.sealing()))
        chunks = [sealing.chunk()[0] for _ in range(3)]
        assert derived == [600_000]
        reader = pickle.loads(pickle.dumps(type(kind)(PASSWORD)))
        for parameters in chunks:
            reader.cipher(parameters)
        assert derived == [600_000] * 2
        pickle.loads(pickle.dumps(reader)).cipher(chunks[0])
        assert derived == [600_000] * 2


def test_threads_that_ask_at_once_share_one_derivation(monkeypatch: pytest.MonkeyPatch) -> None:
    import hashlib

    password, kdf, calls = Password(PASSWORD), Kdf(), []
    monkeypatch.setattr(hashlib, "pbkdf2_hmac", lambda *args: calls.append(args) or bytes(32))
    threads = [threading.Thread(target=password.key, args=[kdf]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1


@pytest.mark.parametrize(
    "kdf",
    [
        {"name": "pbkdf2-hmac-sha256", "iterations": 10**12, "salt": "00" * 16},
        {"name": "pbkdf2-hmac-sha256", "iterations": 0, "salt": "00" * 16},
        {"name": "pbkdf2-hmac-sha256", "iterations": True, "salt": "00" * 16},
        {"name": "pbkdf2-hmac-sha256", "iterations": 1000, "salt": "00" * 65},
        {"name": "pbkdf2-hmac-sha256", "iterations": 1000, "salt": "no hex"},
        {"name": "scrypt", "iterations": 1000, "salt": "00" * 16},
        [],
    ],
)
def test_what_a_chunk_asks_of_the_kdf_has_a_bound(
    kdf: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    import hashlib

    monkeypatch.setattr(hashlib, "pbkdf2_hmac", lambda *args: pytest.fail("derived"))
    with pytest.raises(CannotDecrypt):
        FernetEncryption(PASSWORD).cipher({"name": "fernet", "kdf": kdf, "check": ""})


def test_a_fernet_sample_is_a_token_of_the_library() -> None:
    from base64 import urlsafe_b64encode
    from hashlib import pbkdf2_hmac

    from cryptography.fernet import Fernet

    parameters, cipher = chunk_of(FernetEncryption(PASSWORD))
    kdf = parameters["kdf"]
    assert kdf["iterations"] == 600_000
    salt = bytes.fromhex(kdf["salt"])
    key = pbkdf2_hmac("sha256", PASSWORD.encode(), salt, kdf["iterations"])
    assert Fernet(urlsafe_b64encode(key)).decrypt(cipher.seal(b"data", b"")) == b"data"


@pytest.mark.parametrize("kind", KINDS, ids=NAMES)
def test_nothing_shows_a_secret(kind: Encryption) -> None:
    sealing = kind.sealing()
    parameters, cipher = sealing.chunk()
    shown = [repr(kind), repr(sealing), repr(cipher), repr(kind.cipher(parameters))]
    shown += [json.dumps(parameters), repr(vars(kind))]
    for secret in (PASSWORD, KEY.hex(), repr(KEY)[2:-1], "PRIVATE KEY-----\\nMII"):
        assert not any(secret in text for text in shown[:-1])


def test_what_a_job_sends_to_workers_holds_no_password_and_no_private_key() -> None:
    for kind in (fernet(), aes(), RSA):
        sent = pickle.dumps(kind.sealing())
        assert PASSWORD.encode() not in sent
        assert b"PRIVATE" not in sent


def test_rsa_writes_with_the_public_key_alone(tmp_path: Any) -> None:
    RSA.save_public_key(tmp_path / "public.pem")
    writer = RSAEncryption.load_public_key(tmp_path / "public.pem")
    parameters, cipher = chunk_of(writer)
    sealed = cipher.seal(b"data", b"place")
    assert RSA.cipher(parameters).open(sealed, b"place") == b"data"
    writer.check(parameters)  # enough for an append
    with pytest.raises(CannotDecrypt, match="public key alone"):
        writer.cipher(parameters)
    with pytest.raises(UsageError, match="not the private one"):
        quickly(writer).save_private_key(tmp_path / "private.pem")


def quickly(rsa: RSAEncryption) -> RSAEncryption:
    rsa._password = PASSWORD
    return rsa


class Broken(Reversed):
    def encrypt(self, data: bytes) -> Any:
        if data == b"secret":
            raise RuntimeError(f"cannot do {data!r}")
        return super().encrypt(data) if data == b"millstream" else "text"


def test_what_a_subclass_raises_or_returns_is_told_without_its_words() -> None:
    _, cipher = Broken().sealing().chunk()
    with pytest.raises(FunctionError) as raised:
        cipher.seal(b"secret", b"")
    assert "Broken.encrypt raised RuntimeError" in str(raised.value)
    assert "secret" not in str(raised.value)
    with pytest.raises(FunctionError, match=r"Broken.encrypt returned a str, expected bytes"):
        cipher.seal(b"other", b"")


def test_more_than_the_cipher_takes_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("millstream.encryption.library.MAX_BYTES", 10)
    _, cipher = chunk_of(aes())
    with pytest.raises(UnsupportedError, match="at most 10 bytes"):
        cipher.seal(bytes(11), b"")


@pytest.mark.parametrize(
    "make",
    [
        lambda: FernetEncryption(""),
        lambda: FernetEncryption(b"bytes"),
        lambda: FernetEncryption(PASSWORD, "rows"),
        lambda: AESGCMEncryption(),
        lambda: AESGCMEncryption(key=b"short"),
        lambda: AESGCMEncryption(key="0" * 32),
        lambda: RSAEncryption(""),
        lambda: check_encryption(PASSWORD),
    ],
)
def test_what_makes_no_sense_is_refused_and_not_repeated(make: Any) -> None:
    with pytest.raises(UsageError) as raised:
        make()
    assert PASSWORD not in str(raised.value)


def test_without_the_library_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "cryptography.fernet", None)
    for make in (fernet, aes, RSAEncryption):
        with pytest.raises(UnsupportedError, match=r"pip install 'millstream\[encryption\]'"):
            make()


def test_quick_makes_what_the_default_makes() -> None:
    kind = FernetEncryption(PASSWORD)
    assert quick(kind) is kind
    assert kind.sealing().shared["kdf"]["iterations"] == 1_000
