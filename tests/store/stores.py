"""Stores whose clock stands still but for their waits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from millstream.store import Retry
from millstream.store.cloud import CloudStore
from millstream.store.hub import HubStore
from millstream.store.options import settings
from millstream.store.place import Remote, parse
from millstream.store.retry import Retrier


@dataclass(frozen=True, slots=True)
class Quick:
    """A store that does not wait between attempts; waits: the seconds it would have waited."""

    store: CloudStore
    waits: list[float] = field(default_factory=list)


def open_quick(url: str, options: Mapping[str, object], retry: Retry | None = None) -> Quick:
    """A store that counts the seconds that it would wait, and does not wait."""
    remote = parse(url)
    assert isinstance(remote, Remote)
    waits: list[float] = []

    def wait(seconds: float) -> bool:
        waits.append(seconds)
        return False

    known = settings(remote.service, options)
    retrier = Retrier(retry or known.retry, clock=lambda: sum(waits), luck=lambda: 0.5, wait=wait)
    kind = HubStore if remote.service == "hf" else CloudStore
    return Quick(kind(remote, known, options, retrier), waits)
