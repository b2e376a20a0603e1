"""One of each kind of encryption, made quickly, for laws that hold for all."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from millstream.encryption.by_password import PasswordEncryption
from millstream.utilities.encryption import (
    AESGCMEncryption,
    Encryption,
    FernetEncryption,
    RSAEncryption,
)

PASSWORD = "correct horse battery staple"
KEY = bytes(range(100, 132))

Kind = TypeVar("Kind", bound=PasswordEncryption)


class Reversed(Encryption):
    """What a user may write: the documented two methods, and nothing else."""

    def encrypt(self, data: bytes) -> bytes:
        return b"<" + data[::-1] + b">"

    def decrypt(self, data: bytes) -> bytes:
        if data[:1] + data[-1:] != b"<>":
            raise ValueError(f"secret detail of {data!r}")
        return data[-2:0:-1]


def quick(encryption: Kind) -> Kind:
    """The same with little work for each guess of the password: chunks say how much it was."""
    encryption._kdf = replace(encryption._kdf, iterations=1_000)
    return encryption


def fernet(password: str = PASSWORD, level: str = "sample") -> FernetEncryption:
    return quick(FernetEncryption(password, level))


def aes(password: str = PASSWORD, level: str = "sample") -> AESGCMEncryption:
    return quick(AESGCMEncryption(password, level))


RSA = RSAEncryption(PASSWORD)


def all_kinds() -> list[Encryption]:
    return [fernet(), aes(), AESGCMEncryption(key=KEY), RSA, Reversed()]


NAMES = ["fernet", "aes-gcm", "aes-gcm with a key", "rsa", "custom"]
