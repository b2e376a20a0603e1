"""The parent's side of a worker's slots: who may fill one, and what still reads from one."""

from __future__ import annotations

import os
import pickle
import queue
import warnings
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from millstream.execution.slots import Octets, Span, map_segment
from millstream.execution.wire import Buffer

# A mapping keeps a descriptor, and a process often has no more than 1,024 of them.
MOST_HELD = 256


class _Lease(np.ndarray[Any, np.dtype[np.uint8]]):
    """The bytes of a slot while something reads them: of a class of its own, since numpy lets a
    chain of views end at an array of another class, and a plain one can hold no weak reference
    that all of them keep alive."""


@dataclass(slots=True)
class Budget:
    """How much of their slots a consumer may hold, over all workers.

    limit: in bytes. Beyond it, or beyond MOST_HELD slots, batches are copied as they arrive.
    """

    limit: int
    held: int = 0
    slots: int = 0
    copied: int = 0  # batches

    def has_room(self, size: int) -> bool:
        """Whether these bytes more may be held; warns once if memory is the reason."""
        if self.held + size <= self.limit:
            return self.slots < MOST_HELD
        if not self.copied:
            warnings.warn(
                f"batches of {self.held:,} bytes are held at once, more than a quarter of the free "
                "memory: further ones are copied out of the workers' memory. Drop batches, or "
                "copy what is to be kept of them",
                stacklevel=2,
            )
        return False


class Ring:
    """The slots of one worker. A number is free again once the last array of its batch is gone."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._slots: dict[int, Octets] = {}
        self._free: list[int] = []
        self._made = 0
        self._leases: dict[int, weakref.ref[_Lease]] = {}
        self._back: queue.SimpleQueue[int] = queue.SimpleQueue()

    def take(self) -> int:
        """The number of a slot for the next batch: one that is free, or a new one."""
        while not self._back.empty():
            number = self._back.get()
            del self._leases[number]
            self._count(number, -1)
            self._free.append(number)
        if self._free:
            return self._free.pop()
        self._made += 1
        return self._made - 1

    def load(
        self, number: int, stream: Buffer, spans: Sequence[Span], descriptors: Sequence[int]
    ) -> Any:
        """The value that a worker has put into the slot; its arrays share the slot's memory.

        descriptors: of the slot's memory, if it is new; they are closed here.
        """
        for descriptor in descriptors:
            self._slots[number] = map_segment(descriptor, os.fstat(descriptor).st_size)
            os.close(descriptor)
        memory = self._memory(number, max((at + length for at, length in spans), default=0))
        buffers = [memory[at : at + length] for at, length in spans]
        if not len(stream):
            stream = buffers.pop()
        return pickle.loads(stream, buffers=buffers)

    def _memory(self, number: int, end: int) -> memoryview:
        """The first bytes of a slot, up to `end`: where they lie, or a copy."""
        if not end:
            self._free.append(number)
            return memoryview(bytearray())
        slot = self._slots[number]
        if not self._budget.has_room(len(slot)):
            self._budget.copied += 1
            self._free.append(number)
            return slot[:end].copy().data
        lease, back = slot.view(_Lease), self._back
        # Called wherever the last array dies, in any thread: a put is all it may do.
        self._leases[number] = weakref.ref(lease, lambda _: back.put(number))
        self._count(number, 1)
        return lease.data

    def _count(self, number: int, sign: int) -> None:
        self._budget.slots += sign
        self._budget.held += sign * len(self._slots[number])
