"""Pairs of RSA keys, and what they do with the keys of chunks."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING

from millstream.encryption.library import KEY_BYTES
from millstream.errors import CannotDecrypt, UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.padding import OAEP
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

KEY_BITS, MIN_KEY_BITS, MAX_KEY_BITS = 3072, 2048, 16_384


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A public key, and its private one if that is known."""

    public: RSAPublicKey = field(repr=False)
    private: RSAPrivateKey | None = field(repr=False)

    @staticmethod
    def fresh() -> KeyPair:
        """A new one."""
        from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

        private = generate_private_key(65_537, KEY_BITS)
        return KeyPair(private.public_key(), private)

    @staticmethod
    def of_private(pem: bytes, password: str | None, name: str) -> KeyPair:
        """Of a private key as PEM, from a file of that name; raises CannotDecrypt."""
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        protected = b"ENCRYPTED" in pem
        secret = password.encode() if protected and password is not None else None
        try:
            private = load_pem_private_key(pem, secret)
        except Exception:
            raise CannotDecrypt(
                f"the password does not open {name}, or it holds no private key as PEM"
            ) from None
        if not isinstance(private, RSAPrivateKey):
            raise CannotDecrypt(f"{name} holds a private key of another kind than RSA")
        return KeyPair(_of_fair_size(private.public_key(), name), private)

    @staticmethod
    def of_public(pem: bytes, name: str) -> KeyPair:
        """Of a public key as PEM, from a file of that name; raises CannotDecrypt."""
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
        from cryptography.hazmat.primitives.serialization import load_pem_public_key

        try:
            public = load_pem_public_key(pem)
        except Exception:
            raise CannotDecrypt(f"{name} holds no public key as PEM") from None
        if not isinstance(public, RSAPublicKey):
            raise CannotDecrypt(f"{name} holds a public key of another kind than RSA")
        return KeyPair(_of_fair_size(public, name), None)

    def public_pem(self) -> bytes:
        """The public key as PEM."""
        from cryptography.hazmat.primitives import serialization as form

        return self.public.public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)

    def private_pem(self, password: str | None) -> bytes:
        """The private key as PEM, under a password if one is given; raises UsageError if it is
        not known."""
        from cryptography.hazmat.primitives import serialization as form

        if self.private is None:
            raise UsageError("only the public key is known here, not the private one")
        how: form.KeySerializationEncryption = form.NoEncryption()
        if password is not None:
            how = form.BestAvailableEncryption(password.encode())
        return self.private.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, how)

    @property
    def id(self) -> str:
        """16 bytes of the SHA-256 of the public key (DER), in hex: tells it from others."""
        from cryptography.hazmat.primitives import serialization as form

        der = self.public.public_bytes(form.Encoding.DER, form.PublicFormat.SubjectPublicKeyInfo)
        return sha256(der).hexdigest()[:32]

    @property
    def wrapped_bytes(self) -> int:
        """How long a key is that this has encrypted."""
        return (self.public.key_size + 7) // 8

    def wrap(self) -> tuple[bytes, bytes]:
        """A fresh key for a chunk: encrypted, and as it is."""
        key = os.urandom(KEY_BYTES)
        return self.public.encrypt(key, _padding()), key

    def unwrap(self, wrapped: bytes) -> bytes:
        """The inverse; raises CannotDecrypt."""
        if self.private is None:
            raise CannotDecrypt(
                "encryption= has the public key alone, which is enough to write; to read, pass "
                "RSAEncryption.load_private_key(path, password)"
            )
        try:
            key = self.private.decrypt(wrapped, _padding())
        except ValueError:
            key = b""
        if len(key) != KEY_BYTES:
            raise CannotDecrypt("its key does not open with the private key of encryption=")
        return key


def _padding() -> OAEP:
    from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
    from cryptography.hazmat.primitives.hashes import SHA256

    return OAEP(mgf=MGF1(SHA256()), algorithm=SHA256(), label=None)


def _of_fair_size(public: RSAPublicKey, name: str) -> RSAPublicKey:
    if not MIN_KEY_BITS <= public.key_size <= MAX_KEY_BITS:
        raise CannotDecrypt(
            f"{name} holds a key of {public.key_size} bits, expected {MIN_KEY_BITS} to "
            f"{MAX_KEY_BITS}"
        )
    return public
