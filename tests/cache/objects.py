"""Objects to cache, fetches that are counted, and processes that really are others."""

from __future__ import annotations

import gc
import os
import random
import signal
import socket
import stat
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

from millstream.cache import Cache, Lease


@dataclass(frozen=True)
class Object:
    """Some bytes, and how often they were fetched: a line in a file for each time."""

    content: bytes
    log: Path

    @property
    def name(self) -> str:
        return blake3(self.content).hexdigest()

    @property
    def size(self) -> int:
        return len(self.content)

    def fetch(self) -> Iterator[bytes]:
        with self.log.open("a") as log:
            log.write(f"{self.name}\n")
        step = max(1, self.size // 3)
        for at in range(0, self.size, step):
            yield self.content[at : at + step]

    def lease(self, cache: Cache) -> Lease | None:
        lease = cache.lease(self.name, self.size, self.fetch)
        assert lease is None or lease.content == self.content
        return lease

    def fetches(self) -> int:
        return self.log.read_text().split().count(self.name) if self.log.exists() else 0


def make(folder: Path, *sizes: int) -> list[Object]:
    """Objects of these sizes, all different."""
    numbers = random.Random(1)
    return [Object(numbers.randbytes(size), folder / "fetches") for size in sizes]


def taken(cache: Cache, thing: Object) -> Lease:
    """A lease that must be there."""
    lease = thing.lease(cache)
    assert lease is not None
    return lease


def forked(work: Callable[[], object]) -> int:
    """The number of a process that does this and ends: with 0 if it raised nothing."""
    pid = os.fork()
    if pid:
        return pid
    try:
        work()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


def ended_well(pid: int) -> bool:
    return os.waitpid(pid, 0)[1] == 0


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def descriptors() -> int:
    """How many files this process has open."""
    return len(list(Path("/dev/fd").iterdir()))


def local_descriptors() -> int:
    """The same without connections over a network.

    What is tested opens none; those that the clients of other tests keep for later are closed at
    any time, by timers of theirs.
    """
    return sum(not _is_connection(int(path.name)) for path in Path("/dev/fd").iterdir())


def _is_connection(descriptor: int) -> bool:
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            return False
        with socket.socket(fileno=os.dup(descriptor)) as copy:
            return copy.family in (socket.AF_INET, socket.AF_INET6)
    except OSError:  # closed since it was listed
        return True


@contextmanager
def no_collector() -> Iterator[None]:
    """What is closed here is closed by reference counts, not by luck."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
