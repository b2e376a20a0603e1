"""prune(): the only thing that ever deletes objects of a dataset.

Versions that are old and not among the newest become tombstones; then the chunks that no other
version has go. Only keys that this library makes are touched, and nothing younger than an age
that the caller gives: it has to be longer than any reader stays on an old version.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import compress

from millstream.errors import CorruptData, DatasetNotFound, UsageError
from millstream.format import Manifest, Tombstone
from millstream.format.keys import chunk_of, version_key
from millstream.store import ObjectInfo, Store
from millstream.writing.commit import version_summary
from millstream.writing.folder import unfinished
from millstream.writing.inventory import Inventory, take_inventory

# What a killed `LocalStore.put` leaves, and a killed `CloudStore.check_conditional_put`.
_LEFTOVER = re.compile(r"((chunks|versions|runs)/)?\.new-[0-9a-f]{16}|\.probe-[0-9a-f]{16}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruning:
    """What is to be done, or was done.

    kept: the numbers of the versions that stay. tombstones: take the place of those that go.
    deleted: objects that go. spared: objects that nothing needs, but that are too young.
    """

    kept: tuple[int, ...]
    tombstones: tuple[Tombstone, ...]
    deleted: tuple[ObjectInfo, ...]
    spared: tuple[ObjectInfo, ...]

    @property
    def freed(self) -> int:
        """The bytes of what goes."""
        return sum(found.size for found in self.deleted)


def prune(
    store: Store, *, keep: int, older_than: float, now: float, dry_run: bool = False
) -> Pruning:
    """Frees what the newest `keep` versions, and those younger than an age, do not need.

    older_than: in seconds; now: in seconds since the epoch. Raises CorruptData if a version that
    is to be kept cannot be read, or seems to be missing; OutputBusy while a job writes here.
    """
    if keep < 1 or older_than < 0:
        raise UsageError(
            f"prune keeps at least 1 version, and an age from 0; got {keep=}, {older_than=}"
        )
    with unfinished(store) as recorded:
        inventory = take_inventory(store)
        pruning = plan_prune(
            inventory, keep=keep, older_than=older_than, now=now, recorded=recorded or ()
        )
        if not dry_run:
            _apply(store, pruning)
    return pruning


def plan_prune(
    inventory: Inventory, *, keep: int, older_than: float, now: float, recorded: Iterable[str]
) -> Pruning:
    """Decides what goes. recorded: the digests of chunks that an unfinished job needs."""
    if lost := inventory.lost():
        raise CorruptData(
            f"{inventory.place}: {lost[0]}, so what it needs is not known, and nothing was "
            "deleted. Bring it back, or run `millstream repair`; if it is given up, remove what "
            "is left of it"
        )
    modified = {found.key: found.modified for found in inventory.objects}
    standing = {n for n, found in inventory.versions.items() if not isinstance(found, Tombstone)}
    young = {n for n in standing if now - modified[version_key(n)] < older_than}
    kept = sorted(young.union(sorted(standing)[-keep:]))
    needed = {*recorded, *_chunks(inventory, kept)}
    unneeded = [found for found in inventory.objects if _is_unneeded(found.key, needed)]
    is_old = [now - found.modified >= older_than for found in unneeded]
    return Pruning(
        kept=tuple(kept),
        tombstones=tuple(
            Tombstone(version=number, digest=inventory.digests[number])
            for number in sorted(standing - set(kept))
        ),
        deleted=tuple(compress(unneeded, is_old)),
        spared=tuple(found for found, old in zip(unneeded, is_old, strict=True) if not old),
    )


def _chunks(inventory: Inventory, kept: Sequence[int]) -> set[str]:
    needed: set[str] = set()
    if not kept:
        raise DatasetNotFound(f"{inventory.place} holds no finished millstream dataset")
    for number in kept:
        found = inventory.versions[number]
        if not isinstance(found, Manifest):
            raise CorruptData(
                f"{inventory.place}: version {number} is to be kept and cannot be read ({found}), "
                "so what it needs is not known, and nothing was deleted; see `millstream repair`"
            )
        needed.update(map(found.chunks.name, range(len(found.chunks))))
    return needed


def _is_unneeded(key: str, needed: set[str]) -> bool:
    name = chunk_of(key)
    return name not in needed if name else _LEFTOVER.fullmatch(key) is not None


def _apply(store: Store, pruning: Pruning) -> None:
    """Tombstones first, each the last thing of its version: killed in between, no version is left
    that lacks a chunk, and the next call does the rest."""
    for tombstone in pruning.tombstones:
        for key, text in version_summary(tombstone).items():
            store.put(key, text)
        store.put(version_key(tombstone.version), tombstone.to_bytes())
    for found in pruning.deleted:
        store.delete(found.key)
