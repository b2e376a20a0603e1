"""AES-GCM: a password or a key, and rows that are bound to their places."""

from __future__ import annotations

import hmac
import os
from typing import ClassVar

from millstream.encryption.by_password import PasswordEncryption
from millstream.encryption.encryption import Cipher, Level, Parameters, check_level, hex_of
from millstream.encryption.library import KEY_BYTES, Aes, require_library, subkey
from millstream.encryption.passwords import SALT_BYTES, Kdf, Password
from millstream.errors import UsageError

CHECK_BYTES = 16


class AESGCMEncryption(PasswordEncryption):
    """Encrypts with AES-256-GCM, under a key, or one made of a password.

    Each chunk has a key of its own, which is made of that key, so that no number of rows is too
    many for it. A ciphertext is bound to its job, chunk and row: one that was moved does not open.

    Args:
        password: Opens the data; or, with a key, the file that `save` writes the key to.
        level: "sample" encrypts each row, "chunk" all rows of a chunk at once.
        key: 32 bytes, such as `os.urandom(32)`.

    Raises:
        UsageError: For neither a password nor a key, or a key of another length.
        UnsupportedError: The package cryptography is missing.
    """

    kind: ClassVar[str] = "aes-gcm"

    def __init__(
        self, password: str | None = None, level: Level = "sample", *, key: bytes | None = None
    ) -> None:
        if password is None and key is None:
            raise UsageError("AESGCMEncryption needs a password=, or a key= of 32 bytes")
        if key is not None and (not isinstance(key, bytes) or len(key) != KEY_BYTES):
            got = f"{len(key)} bytes" if isinstance(key, bytes) else f"a {type(key).__name__}"
            raise UsageError(f"the key is {got}, expected {KEY_BYTES} bytes, as os.urandom(32)")
        check_level(level)
        require_library()
        self.level = level
        self._password = None if password is None else Password(password)
        self._key, self._kdf = key, Kdf()

    def encrypt(self, data: bytes) -> bytes:
        """A ciphertext. Who has the same password opens it with a `save`d copy of this object."""
        return self._alone().seal(data, b"")

    def decrypt(self, data: bytes) -> bytes:
        """The inverse; raises CannotDecrypt."""
        return self._alone().open(data, b"")

    def _alone(self) -> Aes:
        return Aes.of(subkey(self._key_of(self._own()), "millstream alone"))

    @staticmethod
    def cipher_of(key: bytes, parameters: Parameters) -> Cipher:
        """With the key of a chunk, which the key of the job and the chunk's salt make."""
        salt = hex_of(parameters, "salt", most=SALT_BYTES)
        return Aes.of(subkey(key, "millstream chunk", salt))

    @staticmethod
    def chunk_parameters() -> Parameters:
        """A salt."""
        return {"salt": os.urandom(SALT_BYTES).hex()}

    def _made(self, key: bytes) -> Parameters:
        return {"check": subkey(key, "millstream check", length=CHECK_BYTES).hex()}

    def _opens(self, key: bytes, parameters: Parameters) -> bool:
        check = hex_of(parameters, "check", most=CHECK_BYTES)
        return hmac.compare_digest(check, subkey(key, "millstream check", length=CHECK_BYTES))
