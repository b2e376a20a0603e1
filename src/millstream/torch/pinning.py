"""Batches copied to page-locked memory by a thread, while the trainer is at those before."""

from __future__ import annotations

import queue
import threading
import warnings
import weakref
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from typing import Any

import torch

from millstream.reading.steps import Made

# Copies that wait for the trainer, besides the one that is being made.
AHEAD = 1

Pin = Callable[[Any], Any]
_Ready = queue.SimpleQueue[Made | BaseException]


class Pinned(Iterator[Made]):
    """The same batches, each copied by `pin`: so its slot is free before the trainer has it.

    What `made` raises, StopIteration too, is raised in its turn. `close` ends the thread, and
    `made`, after the batch that it is at.
    """

    def __init__(self, made: Generator[Made, None, None], pin: Pin) -> None:
        self._ready: _Ready = queue.SimpleQueue()
        self._room = threading.Semaphore(AHEAD)
        stop = threading.Event()
        arguments = (made, pin, self._ready, self._room, stop)
        thread = threading.Thread(target=_work, args=arguments, name="millstream pins", daemon=True)
        self.close = weakref.finalize(self, _end, thread, self._room, stop)
        thread.start()

    def __next__(self) -> Made:
        if not self.close.alive:
            raise StopIteration
        ready = self._ready.get()
        if isinstance(ready, BaseException):
            self.close()
            raise ready
        self._room.release()
        return ready


def _work(
    made: Generator[Made, None, None],
    pin: Pin,
    ready: _Ready,
    room: threading.Semaphore,
    stop: threading.Event,
) -> None:
    try:
        while room.acquire() and not stop.is_set():
            one = next(made)
            ready.put(replace(one, batch=pin(one.batch)))
            del one
    except BaseException as error:
        ready.put(error)
    finally:
        made.close()


def _end(thread: threading.Thread, room: threading.Semaphore, stop: threading.Event) -> None:
    stop.set()
    room.release()
    if thread is not threading.current_thread():  # where garbage may be collected too
        thread.join()


def pinning() -> Callable[[Any], Any] | None:
    """What copies a batch to page-locked memory; None, with torch's warning, without a device."""
    devices = getattr(torch, "accelerator", torch.cuda)  # torch.accelerator came with 2.6
    if not devices.is_available():
        warnings.warn(
            "pin_memory is True, but there is no accelerator: memory is not pinned", stacklevel=3
        )
        return None
    from torch.utils.data._utils.pin_memory import pin_memory

    return pin_memory
