"""How datasets are encrypted; docs/encryption.md says how to choose."""

from millstream.encryption import (
    AESGCMEncryption,
    Encryption,
    FernetEncryption,
    RSAEncryption,
)

__all__ = ["AESGCMEncryption", "Encryption", "FernetEncryption", "RSAEncryption"]
