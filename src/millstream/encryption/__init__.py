"""What encrypts rows and chunks: bytes in, bytes out. docs/encryption.md tells users about it."""

from millstream.encryption.aesgcm import AESGCMEncryption
from millstream.encryption.encryption import (
    Cipher,
    Encryption,
    Level,
    Parameters,
    Sealing,
    check_encryption,
)
from millstream.encryption.fernet import FernetEncryption
from millstream.encryption.rsa import RSAEncryption

# What a chunk may say that it is encrypted with.
KINDS = frozenset({"aes-gcm", "custom", "fernet", "rsa"})

__all__ = [
    "KINDS",
    "AESGCMEncryption",
    "Cipher",
    "Encryption",
    "FernetEncryption",
    "Level",
    "Parameters",
    "RSAEncryption",
    "Sealing",
    "check_encryption",
]
