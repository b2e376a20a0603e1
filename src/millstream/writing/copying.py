"""Chunks from one dataset into another: whole objects, as near to their places as it can be done.

Inside a bucket the server copies, inside a file system the file gets a further name. Only where
neither is possible do the bytes pass through here, and then each chunk is checked against its
name.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Protocol

from blake3 import blake3

from millstream.errors import CorruptData
from millstream.format.keys import chunk_key
from millstream.store import LocalStore, ReadableStore, Store, blocks, open_store, shared_bucket
from millstream.writing.placed import ChunkPlace

# Copies at once; of those whose bytes pass through here (and may lie on the disk meanwhile) so
# many bytes, or one.
AT_ONCE = 16
THROUGH_BYTES = 512_000_000
# S3 copies larger objects in parts only.
SERVER_COPIES = 5_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """A chunk to be copied. source: the number of the dataset that has it."""

    source: int
    digest: str
    size: int
    rows: int


class Copier(Protocol):
    """Copies the chunks of one dataset into another."""

    def through(self, size: int) -> int:
        """How many of a chunk's bytes pass through this machine."""

    def copy(self, digest: str, size: int) -> None:
        """Puts a chunk into its place; raises CorruptData if it is not what its name says."""


@dataclass(frozen=True, slots=True)
class Through:
    """Reads and writes."""

    source: ReadableStore
    chunks: ChunkPlace

    def through(self, size: int) -> int:
        """All of it."""
        return size

    def copy(self, digest: str, size: int) -> None:
        """Reads a chunk block by block, and checks it on the way."""
        self.chunks.put(digest, _checked(self.source, digest, size))
        self.chunks.settle(digest)


def _checked(source: ReadableStore, digest: str, size: int) -> Iterator[memoryview]:
    hasher = blake3()
    for block in blocks(source, chunk_key(digest), size):
        hasher.update(block)
        yield block
    if hasher.hexdigest() != digest:
        raise CorruptData(
            f"{source}: the chunk {digest} is damaged: its bytes are not those that it is named "
            f"for; see `millstream verify {source}`"
        )


@dataclass(frozen=True, slots=True)
class InBucket:
    """The server copies. before, after: what the keys of both datasets begin with."""

    bucket: Store
    before: str
    after: str
    large: Through

    def through(self, size: int) -> int:
        """None, but of what the server would refuse."""
        return 0 if size <= SERVER_COPIES else size

    def copy(self, digest: str, size: int) -> None:
        """One request."""
        if size > SERVER_COPIES:
            self.large.copy(digest, size)
            return
        key = chunk_key(digest)
        self.bucket.copy(f"{self.before}{key}", f"{self.after}{key}")


@dataclass(frozen=True, slots=True)
class OnDisk:
    """The file gets a further name; where it cannot, it is read and written."""

    source: LocalStore
    target: LocalStore
    otherwise: Through

    def through(self, size: int) -> int:
        """Perhaps all of it: that is seen only when it is tried."""
        return size

    def copy(self, digest: str, size: int) -> None:
        """A chunk never changes, so two datasets may share its file."""
        key = chunk_key(digest)
        if self.source.size(key) != size or not self.target.link(self.source.path(key), key):
            self.otherwise.copy(digest, size)


def make_copier(
    place: str | os.PathLike[str],
    source: Store,
    target_place: str | os.PathLike[str],
    target: Store,
    chunks: ChunkPlace,
    options: Mapping[str, object] | None,
) -> Copier:
    """The best way from a dataset to another. options: those of the target's service."""
    through = Through(source, chunks)
    if isinstance(source, LocalStore) and isinstance(target, LocalStore):
        return OnDisk(source, target, through)
    if (shared := shared_bucket(place, target_place)) is not None:
        return InBucket(open_store(shared.place, options), shared.one, shared.other, through)
    return through


def copy_chunks(
    copies: Iterable[Copy], copiers: Sequence[Copier], advance: Callable[[Copy], object]
) -> None:
    """Copies all of them, several at once; stops at the first error. advance: told of each."""
    pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="millstream-copy")
    running: dict[Future[None], Copy] = {}
    passing = 0
    try:
        for one in copies:
            copier = copiers[one.source]
            size = copier.through(one.size)
            while len(running) >= AT_ONCE or (size and passing and passing + size > THROUGH_BYTES):
                passing -= _take(running, copiers, advance)
            running[pool.submit(_copy, copier, one)] = one
            passing += size
        while running:
            _take(running, copiers, advance)
    finally:
        pool.shutdown(cancel_futures=True)


def _take(
    running: dict[Future[None], Copy],
    copiers: Sequence[Copier],
    advance: Callable[[Copy], object],
) -> int:
    """Waits for a copy to end; gives how many bytes no longer pass through here."""
    done, _ = wait(running, return_when=FIRST_COMPLETED)
    freed = 0
    for future in done:
        one = running.pop(future)
        future.result()
        advance(one)
        freed += copiers[one.source].through(one.size)
    return freed


def _copy(copier: Copier, one: Copy) -> None:
    try:
        copier.copy(one.digest, one.size)
    except FileNotFoundError as error:
        raise CorruptData(
            f"the chunk {one.digest} of a dataset to be merged is missing: {error}; see "
            "`millstream verify`"
        ) from None
