"""bytes, as they are."""

from __future__ import annotations

from typing import Any

from millstream.format.codecs.codec import BlobCodec


class Binary(BlobCodec):
    """bytes of any length."""

    kind = "bytes"

    def describe(self, value: Any) -> str | None:
        return "" if type(value) is bytes else None

    def encode(self, value: bytes) -> bytes:
        return value

    def decode(self, payload: memoryview) -> bytes:
        return bytes(payload)
