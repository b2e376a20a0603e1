"""What a job does to the rows of its chunks: compresses them, and then encrypts them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from millstream.encryption import KINDS, Encryption, check_encryption
from millstream.encryption.library import require_library
from millstream.errors import CannotDecrypt, UsageError
from millstream.format import PLAIN, Packing
from millstream.format.ciphers import cipher_spec, needs_key
from millstream.format.keys import chunk_key
from millstream.format.layout import Spec
from millstream.store import ReadableStore
from millstream.versions import Version
from millstream.writing.compression import Compression, parse_compression
from millstream.writing.inventory import chunk_header
from millstream.writing.sealing import JobSealing, begin_sealing, job_sealing


@dataclass(frozen=True, slots=True, kw_only=True)
class Filtering:
    """None for what is not done."""

    compression: Compression | None
    encryption: Encryption | None

    @staticmethod
    def asked(compression: object, encryption: Encryption | None, *, has_tokens: bool) -> Filtering:
        """From the arguments of `optimize`; raises UsageError, and UnsupportedError without the
        library that an encrypted job needs, whatever it encrypts with."""
        check_encryption(encryption)
        found = Filtering(compression=parse_compression(compression), encryption=encryption)
        if encryption is not None:
            require_library()
        if found._is_by_sample:
            found._check_by_sample(has_tokens=has_tokens)
        return found

    @property
    def _is_by_sample(self) -> bool:
        return self.encryption is not None and self.encryption.level == "sample"

    def _check_by_sample(self, *, has_tokens: bool) -> None:
        if has_tokens:
            raise UsageError(
                'a dataset of tokens is encrypted by chunk: pass an encryption with level="chunk", '
                "since blocks are read across documents"
            )
        if self.compression is not None and self.compression.by != "row":
            raise UsageError(
                f"rows that are encrypted one by one cannot be compressed by {self.compression.by}"
                ': pass compression="zstd", or an encryption with level="chunk"'
            )

    def settings(self) -> dict[str, str]:
        """What a job's settings say of it."""
        found = {}
        if self.compression is not None:
            found["compression"] = str(self.compression)
        if self.encryption is not None:
            found["encryption"] = f"{self.encryption.kind}/{self.encryption.level}"
        return found

    @property
    def packing(self) -> Packing:
        """What is done to a chunk before it is encrypted."""
        if self.compression is None:
            return PLAIN
        if self._is_by_sample:
            # A dictionary is made of rows, and would lie beside them for all to read.
            return Packing(rows=(self.compression.zstd,))
        return self.compression.packing()

    def notes(self) -> dict[str, Any]:
        """What a job writes down when it begins."""
        return {} if self.encryption is None else {"encryption": begin_sealing(self.encryption)}

    def sealing(self, notes: dict[str, Any]) -> JobSealing | None:
        """What it encrypts with. notes: of the job; raises CannotDecrypt if they are of another
        password or key."""
        if self.encryption is None:
            return None
        return job_sealing(self.encryption, notes["encryption"])

    def check_version(self, store: ReadableStore, version: Version) -> None:
        """Raises CannotDecrypt or UsageError unless rows of this encryption may join a version.

        Where something is encrypted it looks at the first chunk.
        """
        encryption, table = self.encryption, version.manifest.chunks
        place = f"version {version.manifest.version} of {store}"
        if KINDS.isdisjoint(version.manifest.filters):
            if encryption is not None and len(table):
                raise UsageError(
                    f"{place} is not encrypted, so {encryption!r} is not for what is appended: "
                    "leave encryption out, or write the dataset again with it"
                )
            return
        header = chunk_header(store, chunk_key(table.name(0)), int(table.sizes[0]))
        try:
            # One that is not encrypted may come first where datasets were merged.
            if (spec := cipher_spec(header.layout.filters)) is not None:
                self._check(spec)
        except CannotDecrypt as error:
            raise CannotDecrypt(f"{place}: {error}") from None

    def _check(self, spec: Spec) -> None:
        if self.encryption is None:
            raise needs_key(spec)
        self.encryption.check(spec)
