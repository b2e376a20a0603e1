"""RSA: who writes needs the public key alone, who reads the private one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from millstream.encryption.encryption import (
    Cipher,
    Encryption,
    Level,
    Parameters,
    Sealing,
    check_level,
    hex_of,
)
from millstream.encryption.key_pair import MAX_KEY_BITS, KeyPair
from millstream.encryption.keyfile import AnyPath, ClassOrInstance, read_private, write_private
from millstream.encryption.library import Aes, require_library
from millstream.errors import CannotDecrypt, UsageError

MAX_WRAPPED_BYTES = MAX_KEY_BITS // 8


def _load_private(
    owner: type[RSAEncryption],
    instance: RSAEncryption | None,
    path: AnyPath,
    password: str | None = None,
    level: Level | None = None,
) -> RSAEncryption:
    """The pair of a file that holds a private key as PEM, and the password for it, if any.

    On an object it takes them over, and returns itself. Raises CannotDecrypt for another password,
    or what is no such file, ObjectNotFound.
    """
    made = owner(password) if instance is None else instance
    secret = made._password if password is None else password
    return made._with(KeyPair.of_private(read_private(path), secret, str(path)), level)


def _load_public(
    owner: type[RSAEncryption],
    instance: RSAEncryption | None,
    path: AnyPath,
    level: Level | None = None,
) -> RSAEncryption:
    """The public key of a file: enough to write, not to read. As `load_private_key`."""
    made = owner() if instance is None else instance
    return made._with(KeyPair.of_public(read_private(path), str(path)), level)


class RSAEncryption(Encryption):
    """Encrypts each chunk with AES-256-GCM under a fresh key, which is in the chunk, encrypted
    with RSA.

    A new object has a new pair of keys, made when they are first needed; `load_private_key` and
    `load_public_key` take one from a file. Rows are bound to their places, as by AESGCMEncryption.

    Args:
        password: That private keys are saved under, and loaded with.
        level: "sample" encrypts each row, "chunk" all rows of a chunk at once.

    Raises:
        UsageError: For arguments that make no sense.
        UnsupportedError: The package cryptography is missing.
    """

    kind: ClassVar[str] = "rsa"

    def __init__(self, password: str | None = None, level: Level = "sample") -> None:
        check_level(level)
        require_library()
        if password is not None and (not isinstance(password, str) or not password):
            raise UsageError(
                f"the password is a {type(password).__name__}, expected text, not empty, or None"
            )
        self.level, self._password = level, password
        self._keys: KeyPair | None = None

    def encrypt(self, data: bytes) -> bytes:
        """A fresh key, encrypted with the public key, and then the data, encrypted with that."""
        wrapped, key = self._pair.wrap()
        return wrapped + Aes.of(key).seal(data, b"")

    def decrypt(self, data: bytes) -> bytes:
        """The inverse; raises CannotDecrypt, and UsageError without the private key."""
        size = self._pair.wrapped_bytes
        return Aes.of(self._pair.unwrap(bytes(data[:size]))).open(data[size:], b"")

    # What the format asks -----------------------------------------------------------------------

    def sealing(self, shared: Parameters | None = None) -> Sealing:
        """With the public key alone."""
        if shared is not None:
            self.check(shared)
        pair = self._pair
        return _RSASealing(shared={"name": self.kind, "public": pair.id}, public=pair.public_pem())

    def cipher(self, parameters: Parameters) -> Cipher:
        """What opens a chunk with these parameters; raises CannotDecrypt if this does not."""
        self.check(parameters)
        wrapped = hex_of(parameters, "key", most=MAX_WRAPPED_BYTES)
        return Aes.of(self._pair.unwrap(wrapped))

    def check(self, parameters: Parameters) -> None:
        """Raises CannotDecrypt unless chunks with these parameters are of this pair of keys."""
        self.check_kind(parameters)
        if (public := parameters.get("public")) != self._pair.id:
            raise CannotDecrypt(
                f"is encrypted for the public key {public!r:.80}, and {self!r} has "
                f"{self._pair.id!r}; pass one with the key that the dataset was written for, from "
                "RSAEncryption.load_private_key"
            )

    # Keys ---------------------------------------------------------------------------------------

    @property
    def _pair(self) -> KeyPair:
        if self._keys is None:
            self._keys = KeyPair.fresh()
        return self._keys

    def save_private_key(self, path: AnyPath) -> None:
        """Writes the private key as PEM (PKCS #8), encrypted under the password; for this user
        alone. Raises UsageError without a password or a private key, StorageError."""
        if self._password is None:
            raise UsageError(
                "a private key is saved under a password: make the RSAEncryption with password="
            )
        write_private(path, self._pair.private_pem(self._password))

    def save_public_key(self, path: AnyPath) -> None:
        """Writes the public key as PEM, which is no secret and is enough to write a dataset."""
        write_private(path, self._pair.public_pem())

    def __getstate__(self) -> dict[str, Any]:
        pair = self._pair  # which its copies share
        pems = pair.public_pem(), None if pair.private is None else pair.private_pem(None)
        return {**self.__dict__, "_keys": pems}

    def __setstate__(self, state: dict[str, Any]) -> None:
        public, private = state["_keys"]
        if private is None:
            pair = KeyPair.of_public(public, "a pickle")
        else:
            pair = KeyPair.of_private(private, None, "a pickle")
        self.__dict__.update(state, _keys=pair)

    def _with(self, keys: KeyPair, level: Level | None) -> RSAEncryption:
        if level is not None:
            check_level(level)
            self.level = level
        self._keys = keys
        return self

    load_private_key = ClassOrInstance(_load_private)
    """`load_private_key(path, password=None, level=None)`: the pair of keys of a file.

    On the class it makes an object; on an object, that has the keys and is returned. CannotDecrypt
    for another password, or what is no such file; ObjectNotFound for none.
    """
    load_public_key = ClassOrInstance(_load_public)
    """`load_public_key(path, level=None)`: the public key of a file, enough to write, not to read.

    On the class it makes an object; on an object, that has the key and is returned.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class _RSASealing:
    shared: Parameters
    public: bytes

    def chunk(self) -> tuple[Parameters, Cipher]:
        wrapped, key = KeyPair.of_public(self.public, "a job").wrap()
        return {**self.shared, "key": wrapped.hex()}, Aes.of(key)
