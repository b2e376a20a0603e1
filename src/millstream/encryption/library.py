"""The one door to the library `cryptography`, which only who encrypts needs."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from millstream.errors import CannotDecrypt, UnsupportedError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    from millstream.encryption.encryption import Buffer

KEY_BYTES = 32
NONCE_BYTES, TAG_BYTES = 12, 16
# What one call of AES-GCM takes.
MAX_BYTES = (1 << 31) - 1


def require_library() -> None:
    """Raises UnsupportedError where `cryptography` is not installed."""
    try:
        import cryptography.fernet  # noqa: F401
    except ImportError as error:
        raise UnsupportedError(
            f"encryption needs the library cryptography ({error}): pip install "
            "'millstream[encryption]'"
        ) from None


@dataclass(frozen=True, slots=True)
class Aes:
    """AES-256-GCM: a fresh nonce, the ciphertext, the tag. place: its associated data."""

    _cipher: AESGCM = field(repr=False)

    @staticmethod
    def of(key: bytes) -> Aes:
        """With a key of 32 bytes."""
        require_library()
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        return Aes(AESGCM(key))

    def seal(self, data: Buffer, place: bytes) -> bytes:
        """Raises UnsupportedError for 2 GiB and more."""
        if len(data) > MAX_BYTES:
            raise UnsupportedError(
                f"AES-GCM encrypts at most {MAX_BYTES:,} bytes at once, got {len(data):,}; write "
                "smaller chunks (chunk_bytes), or smaller samples"
            )
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, data, place)

    def open(self, data: Buffer, place: bytes) -> bytes:
        """Raises CannotDecrypt for bytes that were not sealed with this key for this place."""
        from cryptography.exceptions import InvalidTag

        try:
            return self._cipher.decrypt(bytes(data[:NONCE_BYTES]), data[NONCE_BYTES:], place)
        except (InvalidTag, ValueError, OverflowError):
            raise CannotDecrypt(
                f"{len(data)} bytes are not what was encrypted for this place with this key: they "
                "were altered or moved; fetch or write this chunk again"
            ) from None


def subkey(key: bytes, info: str, salt: bytes = b"", length: int = KEY_BYTES) -> bytes:
    """HKDF-SHA256: a key for one purpose, from which the others cannot be told."""
    require_library()
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(SHA256(), length, salt, info.encode()).derive(key)
