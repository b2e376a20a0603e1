"""Anything, by pickle: only where the writer and the reader both asked for it."""

from __future__ import annotations

import pickle
from typing import Any

from millstream.format.codecs.codec import BlobCodec


class Pickled(BlobCodec):
    """Whatever pickle takes. Reading it can run any code: only for data that one trusts."""

    kind = "pickle"

    def describe(self, value: Any) -> str | None:
        return ""

    def alike(self, example: Any) -> None:
        return None

    def encode(self, value: Any) -> bytes:
        return pickle.dumps(value, protocol=5)

    def decode(self, payload: memoryview) -> Any:
        return pickle.loads(payload)
