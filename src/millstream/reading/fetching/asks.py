"""What readers ask the fetcher for, and what it answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt
from blake3 import blake3

from millstream.store import ObjectInfo

# From its first byte up to its second.
Piece = tuple[int, int]
Buffer = bytes | memoryview


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """An object that is to be in the cache: its key in the store, and its name there.

    listed: what told of it, where no digest does: only that very object is wanted then.
    """

    key: str
    name: str
    size: int
    listed: ObjectInfo | None = None


class Presence(IntEnum):
    """What of an object is in the cache: nothing; the pieces that were asked for; all."""

    NONE = 0
    PART = 1
    WHOLE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """What is there of each object that was asked for.

    requests, nbytes: what was fetched beside the objects' own ranges so that nobody had to wait.
    """

    presence: Sequence[Presence]
    requests: int = 0
    nbytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """An object, and the positions between which a stream reads from it."""

    wanted: Wanted
    first: int
    last: int


def as_listed(place: str, listed: ObjectInfo) -> Wanted:
    """A file of a place as it was listed; it has the same name in the cache as long as it is that.

    place: as text, which tells it from others.
    """
    told = f"{place}\0{listed.key}\0{listed.size}\0{listed.tag}"
    name = blake3(told.encode("utf-8", "surrogateescape")).hexdigest()
    return Wanted(key=listed.key, name=name, size=listed.size, listed=listed)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ListedNeeds:
    """Files that a stream reads, each at one position, in that order. place: as in `as_listed`."""

    place: str
    listed: Sequence[ObjectInfo]
    positions: Sequence[int]

    def __iter__(self) -> Iterator[Need]:
        for listed, at in zip(self.listed, self.positions, strict=True):
            yield Need(wanted=as_listed(self.place, listed), first=at, last=at)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Needs:
    """What a stream reads, in the order of `first`: as arrays, since there may be millions.

    digests: (objects, 32) bytes, and sizes, of all objects; object, first, last: one entry a need.
    folder: of the objects' keys.
    """

    folder: str
    digests: npt.NDArray[np.uint8]
    sizes: npt.NDArray[np.int64]
    object: npt.NDArray[np.int64]
    first: npt.NDArray[np.int64]
    last: npt.NDArray[np.int64]

    def __iter__(self) -> Iterator[Need]:
        for number in range(len(self.object)):
            which = int(self.object[number])
            name = self.digests[which].tobytes().hex()
            wanted = Wanted(key=f"{self.folder}{name}", name=name, size=int(self.sizes[which]))
            yield Need(wanted=wanted, first=int(self.first[number]), last=int(self.last[number]))

    @property
    def nbytes(self) -> int:
        """The bytes of the objects that are needed, each once."""
        return int(self.sizes[np.unique(self.object)].sum())
