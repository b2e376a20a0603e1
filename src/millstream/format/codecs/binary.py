"""bytes, as they are, and whole files."""

from __future__ import annotations

from typing import Any

from millstream.format.codecs.codec import BlobCodec, Source
from millstream.format.codecs.files import File, file_bytes


class Binary(BlobCodec):
    """bytes of any length, or a File that holds them."""

    kind = "bytes"

    def describe(self, value: Any) -> str | None:
        return "" if type(value) is bytes or type(value) is File else None

    def alike(self, example: Any) -> None:
        return None

    def source(self, value: bytes | File) -> Source | None:
        return value.source if isinstance(value, File) else None

    def encode(self, value: bytes | File) -> bytes:
        return file_bytes(value.source) if isinstance(value, File) else value

    def decode(self, payload: memoryview) -> bytes:
        return bytes(payload)
