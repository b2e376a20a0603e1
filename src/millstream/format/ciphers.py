"""Ciphers as filters: what of an encryption goes into chunks, and what makes it out of them."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from millstream.encryption import KINDS, Cipher, Encryption, Parameters, Sealing
from millstream.errors import CannotDecrypt
from millstream.format.filters import BODY, Known, Setting, Unit
from millstream.format.layout import Buffer, Identity, Spec

_PLACE = struct.Struct("<16sQQ")
_BODY_ROW = (1 << 64) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeCipher:
    """Encrypts, each chunk with parameters of its own."""

    sealing: Sealing

    def __call__(self, setting: Setting) -> CipherFilter:
        parameters, cipher = self.sealing.chunk()
        return CipherFilter(spec=parameters, cipher=cipher, identity=setting.identity)


@dataclass(frozen=True, slots=True, kw_only=True)
class CipherFilter:
    """A cipher as one chunk has it. spec: its parameters. identity: of the chunk."""

    spec: Parameters
    cipher: Cipher = field(repr=False)
    identity: Identity
    is_optional = False

    def apply(self, content: Buffer, unit: Unit) -> Buffer:
        """Bound to its place, if the cipher does that."""
        return self.cipher.seal(content, place_of(self.identity, unit))

    def undo(self, content: Buffer, unit: Unit, size: int | None) -> Buffer:
        """No longer than the ciphertext; raises CannotDecrypt."""
        return self.cipher.open(content, place_of(self.identity, unit))


def place_of(identity: Identity, unit: Unit) -> bytes:
    """The job, the chunk's number in it, and the row: u64 each, after the 16 bytes of the job."""
    row = _BODY_ROW if unit.part == BODY.part else unit.number
    return _PLACE.pack(identity.job, identity.sequence, row)


def known_ciphers(encryption: Encryption | None) -> Known:
    """The filters that an encryption undoes; the others, and without one all, raise
    CannotDecrypt when they are made."""

    def make(spec: Spec, setting: Setting) -> CipherFilter:
        if encryption is None:
            raise needs_key(spec)
        return CipherFilter(spec=spec, cipher=encryption.cipher(spec), identity=setting.identity)

    return dict.fromkeys(KINDS, make)


def needs_key(spec: Spec) -> CannotDecrypt:
    """The error for who has no encryption at all."""
    return CannotDecrypt(
        f"is encrypted with {str(spec['name'])!r:.40}; pass encryption=, with the password or key "
        "that the dataset was written with"
    )


def shut_ciphers() -> Known:
    """The same for who does without what is encrypted."""
    return dict.fromkeys(KINDS, lambda spec, setting: None)


def cipher_spec(specs: tuple[Spec, ...]) -> Spec | None:
    """The filter among these that encrypts."""
    return next((spec for spec in specs if spec.get("name") in KINDS), None)
