"""Fernet: a password, and tokens that any implementation of Fernet can read."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from millstream.encryption.by_password import PasswordEncryption
from millstream.encryption.encryption import Buffer, Cipher, Parameters
from millstream.errors import CannotDecrypt

if TYPE_CHECKING:
    from cryptography.fernet import Fernet

# A token of nothing at all.
MAX_CHECK_BYTES = 200


class FernetEncryption(PasswordEncryption):
    """Encrypts with Fernet, under a key made of a password.

    Fernet is AES-128 in CBC mode with HMAC-SHA256, written as base64: it takes a third more room,
    and several times the time of AESGCMEncryption. A token says when it was made, and does not say
    which row it is.

    Args:
        password: Text; whoever has it reads the data.
        level: "sample" for each row a token, "chunk" for all rows of a chunk in one.

    Raises:
        UsageError: For arguments that make no sense.
        UnsupportedError: The package cryptography is missing.
    """

    kind: ClassVar[str] = "fernet"

    def encrypt(self, data: bytes) -> bytes:
        """A token. Who has the same password opens it with a `save`d copy of this object."""
        return self.cipher_of(self._key_of(self._own()), {}).seal(data, b"")

    def decrypt(self, data: bytes) -> bytes:
        """The inverse; raises CannotDecrypt."""
        return self.cipher_of(self._key_of(self._own()), {}).open(data, b"")

    @staticmethod
    def cipher_of(key: bytes, parameters: Parameters) -> Cipher:
        """The key of a job is that of its chunks."""
        from cryptography.fernet import Fernet

        return _Fernet(Fernet(urlsafe_b64encode(key)))

    @staticmethod
    def chunk_parameters() -> Parameters:
        """Nothing more."""
        return {}

    def _made(self, key: bytes) -> Parameters:
        return {"check": self.cipher_of(key, {}).seal(b"", b"").decode()}

    def _opens(self, key: bytes, parameters: Parameters) -> bool:
        check = parameters.get("check")
        if not isinstance(check, str) or len(check) > MAX_CHECK_BYTES:
            raise CannotDecrypt("its parameter 'check' is no token of Fernet")
        try:
            return self.cipher_of(key, {}).open(check.encode(errors="replace"), b"") == b""
        except CannotDecrypt:
            return False


@dataclass(frozen=True, slots=True)
class _Fernet:
    _fernet: Fernet = field(repr=False)

    def seal(self, data: Buffer, place: bytes) -> bytes:
        return self._fernet.encrypt(bytes(data))

    def open(self, data: Buffer, place: bytes) -> bytes:
        from cryptography.fernet import InvalidToken

        try:
            return self._fernet.decrypt(bytes(data))
        except (InvalidToken, ValueError, OverflowError):
            raise CannotDecrypt(
                f"{len(data)} bytes are no token of this key: they were altered; fetch or write "
                "this chunk again"
            ) from None
