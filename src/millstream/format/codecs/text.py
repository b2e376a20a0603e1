"""str, as UTF-8."""

from __future__ import annotations

from typing import Any

from millstream.errors import CorruptData, SampleError
from millstream.format.codecs.codec import BlobCodec


class Text(BlobCodec):
    """Any str that UTF-8 can hold; a lone surrogate raises SampleError."""

    kind = "str"

    def describe(self, value: Any) -> str | None:
        return "" if type(value) is str else None

    def alike(self, example: Any) -> None:
        return None

    def encode(self, value: str) -> bytes:
        try:
            return value.encode()
        except UnicodeEncodeError as error:
            raise SampleError(
                f"a str holds the lone surrogate {value[error.start]!r} at {error.start}, which "
                "UTF-8 cannot hold; store it as bytes"
            ) from None

    def decode(self, payload: memoryview) -> str:
        try:
            return str(payload, "utf-8")
        except UnicodeDecodeError as error:
            raise CorruptData(f"not UTF-8: {error}") from None
