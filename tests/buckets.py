"""A place in a bucket, as tests of writing hand it around."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from millstream.store import Store, open_store


@dataclass(frozen=True)
class Bucket:
    """A prefix of the test's own, and how to reach it."""

    url: str
    options: dict[str, Any]

    @property
    def store(self) -> Store:
        return open_store(self.url, self.options)

    def objects(self) -> dict[str, bytes]:
        """All that lies there but the records of runs."""
        store = self.store
        keys = [info.key for info in store.list("")]
        return {key: store.get(key) for key in keys if not key.startswith("runs/")}
