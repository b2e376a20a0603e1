"""What an encrypted job encrypts with: its chunks as the user says, its segments on its own.

A segment becomes chunks only later, at places that are not known yet. So its bytes are encrypted
with AES-GCM under a key of the job, and again, row by row, when a chunk is built. That key lies in
the job's folder as the user's encryption gives it. Who has the public key of RSA alone cannot get
it back there: then what a killed run left in segments is made again.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from millstream.encryption import Encryption, Level, Sealing
from millstream.encryption.library import KEY_BYTES, Aes
from millstream.errors import CannotDecrypt
from millstream.format import Packing
from millstream.format.ciphers import MakeCipher

_PLACE = b"key of segments"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSealing:
    """What travels to the workers of an encrypted job.

    key: of segments. is_kept: whether another run of the job has it too.
    """

    level: Level
    chunks: Sealing
    key: bytes = field(repr=False)
    is_kept: bool = True

    @property
    def segments(self) -> Aes:
        """Encrypts what a task has made."""
        return Aes.of(self.key)

    def packing(self, packing: Packing) -> Packing:
        """What is done to each chunk beside this, and then this."""
        cipher = MakeCipher(sealing=self.chunks)
        if self.level == "chunk":
            return replace(packing, body=(*packing.body, cipher))
        return Packing(rows=(*packing.rows, cipher), whole_rows=True)


def begin_sealing(encryption: Encryption) -> dict[str, Any]:
    """What a job notes when it begins; raises UnsupportedError without the library for it."""
    sealing = encryption.sealing()
    parameters, cipher = sealing.chunk()
    sealed = cipher.seal(os.urandom(KEY_BYTES), _PLACE)
    return {"shared": sealing.shared, "key": {**parameters, "sealed": sealed.hex()}}


def job_sealing(encryption: Encryption, noted: Mapping[str, Any]) -> JobSealing:
    """From what the job noted; raises CannotDecrypt if it began with another password or key."""
    try:
        sealing = encryption.sealing(noted["shared"])
    except CannotDecrypt as error:
        raise CannotDecrypt(
            f"the unfinished job here goes on with what it was begun with: {error}"
        ) from None
    try:
        cipher = encryption.cipher(noted["key"])
        key, is_kept = cipher.open(bytes.fromhex(noted["key"]["sealed"]), _PLACE), True
    except CannotDecrypt:
        key, is_kept = os.urandom(KEY_BYTES), False
    return JobSealing(level=encryption.level, chunks=sealing, key=key, is_kept=is_kept)
