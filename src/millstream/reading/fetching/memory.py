"""Objects of a store into memory, each for the one who takes it: past the cache, and no disk."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Literal, cast

from millstream.reading.fetching.asks import Buffer, Presence, Wanted
from millstream.reading.fetching.downloads import NOW
from millstream.reading.fetching.turns import Turns
from millstream.store import ListingStore, ReadableStore

# Readers are ahead of what is fetched ahead by so many objects at most, or all is well without.
MOST_EARLY = 1 << 16


class Coming:
    """One object on its way, by one request. done: ends with its bytes, or with an error."""

    def __init__(self, get: Callable[[], Buffer]) -> None:
        self.done: Future[Buffer] = Future()
        self._get, self._lock = get, threading.Lock()
        self._begun = False

    def bring(self) -> int:
        """Fetches it unless that was begun before; how many bytes came."""
        with self._lock:
            if self._begun:
                return 0
            self._begun = True
        try:
            content = self._get()
        except BaseException as error:
            self.done.set_exception(error)
            return 0
        self.done.set_result(content)
        return len(content)


@dataclass(slots=True, eq=False)
class _Entry:
    """An object that is kept. whose: the stream that wants it; None after that has ended."""

    coming: Coming
    whose: MemoryAhead | None


class InMemory:
    """Listed objects that are fetched, and kept until somebody takes them."""

    def __init__(self, store: ReadableStore, turns: Turns) -> None:
        self._store, self._turns = cast(ListingStore, store), turns
        self._lock = threading.Lock()
        self._kept: dict[str, deque[_Entry]] = {}
        self._early: dict[str, int] = {}  # taken before a stream had begun them: how often

    def take(self, asks: Sequence[Wanted]) -> list[Buffer]:
        """Objects, which are no longer kept; raises what the store raises."""
        taken = [self._pop(wanted) or self._coming(wanted) for wanted in asks]
        for coming in taken:
            if not coming.done.done():
                self._turns.due(NOW, coming.bring)
        return [coming.done.result() for coming in taken]

    def begin(self, wanted: Wanted, due: float, whose: MemoryAhead) -> Coming | None:
        """Has an object fetched for a stream; or passes on what was fetched for another, which may
        have been the same one in the epoch before. None if a reader was faster, and has it."""
        with self._lock:
            if self._was_early(wanted):
                return None
            kept = self._kept.setdefault(wanted.name, deque())
            entry = next((one for one in kept if one.whose is not whose), None)
            if entry is None:
                entry = _Entry(self._coming(wanted), whose)
                kept.append(entry)
            entry.whose = whose
        self._turns.due(due, entry.coming.bring)
        return entry.coming

    def skip(self, wanted: Wanted) -> None:
        """A stream needs an object no more that it has not begun."""
        with self._lock:
            self._was_early(wanted)

    def drop(self, wanted: Wanted, coming: Coming, whose: MemoryAhead) -> None:
        """Lets go of an object, if nobody has taken it and no other stream wants it."""
        with self._lock:
            kept = self._kept.get(wanted.name, ())
            left = deque(one for one in kept if one.coming is not coming or one.whose is not whose)
            self._keep(wanted.name, left)

    def leave(self, whose: MemoryAhead) -> None:
        """A stream has ended: what it did not read stays for the next one, until that ends."""
        with self._lock:
            for name, kept in list(self._kept.items()):
                self._keep(name, deque(one for one in kept if one.whose is not None))
                for entry in kept:
                    entry.whose = None if entry.whose is whose else entry.whose

    def _coming(self, wanted: Wanted) -> Coming:
        if wanted.listed is None:
            raise ValueError(f"{wanted.key} was not listed")
        return Coming(partial(self._store.get_listed, wanted.listed))

    def _pop(self, wanted: Wanted) -> Coming | None:
        with self._lock:
            kept = self._kept.get(wanted.name)
            entry = kept.popleft() if kept else None
            if entry is None or entry.whose is None:
                self._early[wanted.name] = self._early.pop(wanted.name, 0) + 1
                if len(self._early) > MOST_EARLY:
                    del self._early[next(iter(self._early))]
            if kept is not None:
                self._keep(wanted.name, kept)
            return None if entry is None else entry.coming

    def _was_early(self, wanted: Wanted) -> bool:
        count = self._early.pop(wanted.name, 0)
        if count > 1:
            self._early[wanted.name] = count - 1
        return count > 0

    def _keep(self, name: str, kept: deque[_Entry]) -> None:
        if kept:
            self._kept[name] = kept
        else:
            self._kept.pop(name, None)


class MemoryAhead:
    """What fetches ahead of one stream into memory, until `leave`.

    An object that the stream wants twice is fetched twice.
    """

    def __init__(self, memory: InMemory) -> None:
        self._memory = memory

    def begin(
        self, wanted: Wanted, due: tuple[float, float], *, wait: bool
    ) -> Kept | Literal[Presence.NONE]:
        """Has an object fetched. due: when it is needed. wait: means nothing here."""
        coming = self._memory.begin(wanted, due[0], self)
        if coming is None:
            return Presence.NONE
        kept = Kept(coming.done, partial(self._memory.drop, wanted, coming, self))

        def ended(done: Future[Buffer]) -> None:
            if done.exception() is not None:  # who reads it asks anew
                kept.close()

        coming.done.add_done_callback(ended)
        return kept

    def hold(self, wanted: Wanted, begun: object) -> Kept | None:
        """Keeps an object that has come, until it is taken."""
        return begun if isinstance(begun, Kept) else None

    def skip(self, wanted: Wanted) -> None:
        """The stream has passed it."""
        self._memory.skip(wanted)

    def leave(self) -> None:
        """The stream has ended."""
        self._memory.leave(self)


@dataclass(frozen=True, slots=True)
class Kept:
    """An object that is fetched and kept; `close` lets go of it."""

    done: Future[Buffer]
    close: Callable[[], None]
