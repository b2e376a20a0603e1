"""What a reader asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from millstream.encryption import Encryption
from millstream.format.codecs import BlobCodec
from millstream.reading.decoding import Decode
from millstream.tokens import TokensLoader


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What to read and how.

    fields: names, None for all. encryption: what opens rows that are encrypted. item_loader: reads
    blocks of tokens; None for the rows as they were written. serializers: codecs that are tried
    before ours.
    """

    fields: tuple[str, ...] | None
    decode: Mapping[str, Decode]
    allow_pickle: bool
    verify: bool
    encryption: Encryption | None = None
    item_loader: TokensLoader | None = None
    serializers: tuple[BlobCodec, ...] = ()

    @property
    def closed(self) -> set[str]:
        """The fields whose stored bytes are asked for: of these any kind will do."""
        return {name for name, how in self.decode.items() if how == "bytes" or callable(how)}
