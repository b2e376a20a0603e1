"""Where a rank's processes put what they took out of its filters, so that no other has to."""

from __future__ import annotations

import fcntl
import mmap
import os
import secrets
import threading
import weakref
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import numpy as np

from millstream.execution.memory import free_memory
from millstream.format.plain import Memory, Octets
from millstream.reading.lending import LOCKS, TAIL_BYTES, Borrower, Key, Lender

# All that is lent takes at most this part of the memory that is free at the start.
LENT_PART = 4
# The bytes of a memory that may be locked: more than it has pages.
LOCK_BITS = 28


class SharedMemory:
    """Memory that other processes may have too. Closes the descriptor.

    locks: a file of which bytes are locked instead of this memory, and the first byte for it.
    """

    def __init__(self, descriptor: int, size: int, locks: tuple[int, int]) -> None:
        try:
            self._all = np.frombuffer(mmap.mmap(descriptor, size + TAIL_BYTES), np.uint8)
        finally:
            os.close(descriptor)
        self._size, self._locks = size, locks
        self.content: Octets = self._all[:size]
        self.content.flags.writeable = False
        self._threads = threading.Lock()

    @property
    def is_current(self) -> bool:
        """Whether others still get this memory."""
        return not self._all[self._size]

    def write(self, at: int, content: bytes | memoryview) -> None:
        """Puts bytes there."""
        self._all[at : at + len(content)] = np.frombuffer(content, np.uint8)

    @contextmanager
    def lock(self, number: int) -> Iterator[None]:
        """Held by one thread of one process at a time; the kernel frees it should that die."""
        descriptor, first = self._locks
        with self._threads:
            fcntl.lockf(descriptor, fcntl.LOCK_EX, 1, first + number)
            try:
                yield
            finally:
                fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, first + number)


class _Ours:
    """What lends in this process, as long as a dataset uses it, and all that may use it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.lender: weakref.ref[Lender] | None = None
        self.users: weakref.WeakSet[SharedMemories] = weakref.WeakSet()


_ours = _Ours()


def our_lender() -> Lender:
    """That of this process, made if there is none."""
    with _ours.lock:
        lender = None if _ours.lender is None else _ours.lender()
        if lender is None:
            lender = Lender(free_memory() // LENT_PART)
            _ours.lender = weakref.ref(lender)
        return lender


def _before_fork() -> None:
    """A fork asks the process that it comes from, which has to listen then."""
    for user in list(_ours.users):
        user.listen()


def _after_fork() -> None:
    global _ours
    users, _ours = list(_ours.users), _Ours()  # what was inherited is the parent's
    for user in users:
        user.is_forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_child=_after_fork)


class SharedMemories:
    """Memory by the name of a chunk, the same in all processes that have a copy of these.

    Who unpickles a copy, or is forked with one, borrows from the process that it comes from, as
    long as that lives; then it has its own. opened_bytes: how many this process took out of
    filters.
    """

    def __init__(self, address: str | None = None, token: bytes | None = None) -> None:
        self._address, self._token = address, token or secrets.token_bytes(16)
        self._lender: Lender | None = None
        self._borrower: Borrower | None = None
        self._lock = threading.Lock()
        self._held: dict[str, SharedMemory] = {}
        self._locks: int | None = None
        self.opened_bytes = 0
        _ours.users.add(self)

    def __reduce__(self) -> tuple[object, ...]:
        return SharedMemories, (self.listen(), self._token)

    def __call__(self, name: str, size: int) -> Memory:
        """So many bytes; raises StorageError if there are none."""
        with self._lock:
            memory = self._held.get(name)
            if memory is None or not memory.is_current:
                self._held = {key: one for key, one in self._held.items() if one.is_current}
                memory = self._held[name] = self._made(name, size)
            return memory

    def _made(self, name: str, size: int) -> SharedMemory:
        if self._locks is None:
            self._locks = self._descriptor(LOCKS, 0)
            weakref.finalize(self, os.close, self._locks)
        descriptor = self._descriptor((self._token, name), size)
        first = zlib.crc32(name.encode()) << LOCK_BITS
        return SharedMemory(descriptor, size, (self._locks, first))

    def opened(self, nbytes: int) -> None:
        """Counts them."""
        self.opened_bytes += nbytes

    def _descriptor(self, key: Key, size: int) -> int:
        if self._lender is None and self._address is not None:
            with suppress(ConnectionError, FileNotFoundError):  # it has ended: ours then
                self._borrower = self._borrower or Borrower(self._address)
                return self._borrower.descriptor(key, size)
        self._lender = self._lender or our_lender()
        return self._lender.holdings.descriptor(key, size)

    def listen(self) -> str:
        """The address of who lends, whoever that is."""
        if self._lender is None and self._address is not None:
            return self._address
        self._lender = self._lender or our_lender()
        return self._lender.listen()

    def is_forked(self) -> None:
        """In a fork: the lender, if there is one here, is the parent's, and listens."""
        if self._lender is not None:
            self._address = self._lender.address
            self._lender.leave_to_parent()
            self._lender = None
        self._borrower, self._lock, self._held = None, threading.Lock(), {}
        _ours.users.add(self)
