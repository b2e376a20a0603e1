"""str, as UTF-8, plain or marked as text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from millstream.errors import CorruptData, SampleError
from millstream.format.codecs.codec import BlobCodec


@dataclass(frozen=True, slots=True)
class Text:
    """A str as a value of a sample; it is stored, and read back, as one.

    A plain str does the same: no text is ever taken for the path of a file.

    Args:
        text: The str.

    Raises:
        SampleError: It is no str.
    """

    text: str

    def __post_init__(self) -> None:
        if type(self.text) is not str:
            raise SampleError(f"Text holds a str, got a {type(self.text).__name__}")


class TextCodec(BlobCodec):
    """Any str that UTF-8 can hold; a lone surrogate raises SampleError."""

    kind = "str"

    def describe(self, value: Any) -> str | None:
        return "" if type(value) is str or type(value) is Text else None

    def alike(self, example: Any) -> None:
        return None

    def encode(self, value: str | Text) -> bytes:
        text = value.text if isinstance(value, Text) else value
        try:
            return text.encode()
        except UnicodeEncodeError as error:
            raise SampleError(
                f"a str holds the lone surrogate {text[error.start]!r} at {error.start}, which "
                "UTF-8 cannot hold; store it as bytes"
            ) from None

    def decode(self, payload: memoryview) -> str:
        try:
            return str(payload, "utf-8")
        except UnicodeDecodeError as error:
            raise CorruptData(f"not UTF-8: {error}") from None
