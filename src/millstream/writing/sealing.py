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

from millstream.encryption import Encryption, Level, Sealing, check_encryption
from millstream.encryption.library import KEY_BYTES, Aes, require_library
from millstream.errors import CannotDecrypt, UsageError
from millstream.format import PLAIN, Packing
from millstream.format.ciphers import MakeCipher, cipher_spec, needs_key
from millstream.format.keys import chunk_key
from millstream.store import ReadableStore
from millstream.versions import Version
from millstream.writing.compression import Compression
from millstream.writing.inventory import chunk_header

_PLACE = b"key of segments"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSealing:
    """What travels to the workers of an encrypted job."""

    level: Level
    chunks: Sealing
    key: bytes = field(repr=False)

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


def packing_of(compression: Compression | None, encryption: Encryption | None) -> Packing:
    """What is done to a chunk before it is encrypted."""
    if compression is None:
        return PLAIN
    if encryption is not None and encryption.level == "sample":
        # A dictionary is made of rows, and would lie beside them for all to read.
        return Packing(rows=(compression.zstd,))
    return compression.packing()


def check_writing(
    encryption: Encryption | None, compression: Compression | None, *, has_tokens: bool
) -> None:
    """Raises UsageError for what is no encryption of such samples, UnsupportedError without the
    library that a job needs for any."""
    check_encryption(encryption)
    if encryption is None:
        return
    require_library()
    if has_tokens and encryption.level == "sample":
        raise UsageError(
            'a dataset of tokens is encrypted by chunk: pass an encryption with level="chunk", '
            "since blocks are read across documents"
        )
    if compression is not None and compression.by != "row" and encryption.level == "sample":
        raise UsageError(
            f"rows that are encrypted each by itself cannot be compressed by {compression.by}: "
            'pass compression="zstd", or an encryption with level="chunk"'
        )


def setting_of(encryption: Encryption | None) -> dict[str, str]:
    """What a job's settings say of it."""
    return {} if encryption is None else {"encryption": f"{encryption.kind}/{encryption.level}"}


def check_opens(store: ReadableStore, version: Version, encryption: Encryption | None) -> None:
    """Raises CannotDecrypt or UsageError unless rows of this encryption may join a version.

    Looks at its first chunk.
    """
    table = version.manifest.chunks
    if not len(table):
        return
    header = chunk_header(store, chunk_key(table.name(0)), int(table.sizes[0]))
    spec, place = (
        cipher_spec(header.layout.filters),
        f"version {version.manifest.version} of {store}",
    )
    if spec is None:
        if encryption is not None:
            raise UsageError(
                f"{place} is not encrypted, so {encryption!r} cannot be used for what is appended: "
                "leave encryption out, or write the dataset again with it"
            )
        return
    try:
        if encryption is None:
            raise needs_key(spec)
        encryption.check(spec)
    except CannotDecrypt as error:
        raise CannotDecrypt(f"{place}: {error}") from None


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
        key = cipher.open(bytes.fromhex(noted["key"]["sealed"]), _PLACE)
    except CannotDecrypt:
        key = os.urandom(KEY_BYTES)
    return JobSealing(level=encryption.level, chunks=sealing, key=key)
