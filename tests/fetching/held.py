"""A store whose answers come when a test lets them, and objects to fetch from it."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from blake3 import blake3

from millstream.cache import Cache
from millstream.reading.fetching.asks import Piece, Wanted
from millstream.reading.fetching.downloads import Downloads
from millstream.reading.fetching.gate import Gate
from millstream.reading.fetching.turns import Turns

PATIENCE = 30


@dataclass
class HeldStore:
    """Objects in memory. asked: (key, piece) in the order in which requests came in.

    open: requests are answered at once; else each waits for `answer`. errors: what is raised
    instead, by key.
    """

    objects: dict[str, bytes]
    open: bool = True
    errors: dict[str, Exception] = field(default_factory=dict)
    asked: list[tuple[str, Piece]] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _answers: Counter[tuple[str, Piece]] = field(default_factory=Counter)

    def get(self, key: str, span: Piece | None = None) -> bytes:
        assert span is not None
        content = self.objects[key]  # as it is when it is asked for
        with self._changed:
            self.asked.append((key, span))
            self._changed.notify_all()
            self._until(lambda: self.open or self._answers[key, span] > 0)
            self._answers[key, span] -= 1
        if key in self.errors:
            raise self.errors[key]
        return content[slice(*span)]

    def size(self, key: str) -> int:
        return len(self.objects[key])

    def answer(self, key: str, span: Piece) -> None:
        """Lets one request for this be answered."""
        with self._changed:
            self._answers[key, span] += 1
            self._changed.notify_all()

    def answer_all(self) -> None:
        """From now on nobody waits."""
        with self._changed:
            self.open = True
            self._changed.notify_all()

    def await_requests(self, count: int) -> None:
        """Returns when so many requests have come in."""
        with self._changed:
            self._until(lambda: len(self.asked) >= count)

    def _until(self, holds: object) -> None:
        assert callable(holds)
        assert self._changed.wait_for(holds, PATIENCE), f"nothing came; asked were {self.asked}"

    def __str__(self) -> str:
        return "a held store"


def objects(*sizes: int) -> tuple[HeldStore, list[Wanted]]:
    """A store of objects of these sizes, all different."""
    numbers = random.Random(1)
    contents = [numbers.randbytes(size) for size in sizes]
    names = [blake3(content).hexdigest() for content in contents]
    wanted = [
        Wanted(key=f"chunks/{name}", name=name, size=size)
        for name, size in zip(names, sizes, strict=True)
    ]
    return HeldStore({w.key: c for w, c in zip(wanted, contents, strict=True)}), wanted


@contextmanager
def downloads(
    store: HeldStore, folder: Path, *, limit: int = 1 << 30, at_once: int = 4, threads: int = 8
) -> Iterator[Downloads]:
    """What fetches from a store into a cache below a folder."""
    before = set(threading.enumerate())
    gate = Gate(lambda: 0.0, first=at_once, most=at_once)
    made = Downloads(store, Cache(folder, limit), Turns(gate, threads))
    try:
        yield made
    finally:
        made.close()
        store.answer_all()
        started = set(threading.enumerate()) - before
        for thread in started:
            thread.join(PATIENCE)
        assert not any(thread.is_alive() for thread in started)
