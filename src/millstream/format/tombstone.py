"""What takes the place of a version's manifest when the version is pruned.

Readers find the newest version by going up from 1, so no number may go missing.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from xxhash import xxh3_64_intdigest

from millstream.errors import CorruptData, UnsupportedError
from millstream.format.manifest import Manifest, read_manifest

MAGIC = b"MILLTOMB"
VERSION = 1
_FIELDS = struct.Struct("<8sHH4xQ32s")  # and then their checksum
_CHECKSUM = struct.Struct("<Q")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tombstone:
    """A version that was pruned. digest: of the manifest that was there, in hex."""

    version: int
    digest: str

    def to_bytes(self) -> bytes:
        """The tombstone as it is stored: 64 bytes."""
        fields = _FIELDS.pack(MAGIC, VERSION, 0, self.version, bytes.fromhex(self.digest))
        return fields + _CHECKSUM.pack(xxh3_64_intdigest(fields))

    def summary(self) -> dict[str, object]:
        """What the JSON beside it says to a person."""
        return {"format": VERSION, "version": self.version, "pruned": True, "digest": self.digest}


def read_version(content: bytes, version: int) -> Manifest | Tombstone:
    """What lies in the place of a version; raises CorruptData or UnsupportedError."""
    found = _tombstone(content) if content.startswith(MAGIC) else read_manifest(content)
    if found.version != version:
        raise CorruptData(f"in the place of version {version} lies version {found.version}")
    return found


def _tombstone(content: bytes) -> Tombstone:
    if len(content) != _FIELDS.size + _CHECKSUM.size:
        raise CorruptData(f"a tombstone of {len(content)} bytes, expected 64")
    _, form, flags, version, digest = _FIELDS.unpack_from(content)
    if _CHECKSUM.unpack_from(content, _FIELDS.size) != (
        xxh3_64_intdigest(content[: _FIELDS.size]),
    ):
        raise CorruptData("the tombstone of a pruned version does not match its checksum")
    if form != VERSION or flags:
        raise UnsupportedError(f"a tombstone of format version {form}, flags {flags}")
    return Tombstone(version=version, digest=digest.hex())
