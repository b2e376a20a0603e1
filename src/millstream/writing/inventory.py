"""What lies at a dataset's place: found by listing, for those who mend it and tidy it up."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from millstream.errors import CorruptData, UnsupportedError
from millstream.format import (
    HEAD_BYTES,
    Header,
    Manifest,
    Tombstone,
    header_bytes,
    read_header,
    read_version,
    version_digest,
)
from millstream.format.keys import LATEST, run_key, version_of
from millstream.store import ListingStore, ObjectInfo, ReadableStore

# What is read of a chunk to begin with: few headers are longer.
FIRST_BYTES = 1 << 16

_ASIDE = re.compile(r"versions/[0-9]{12}\.damaged(-[0-9]+)?")
_BESIDE = re.compile(r"(versions/[0-9]{12})\.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """All objects, and the versions among them.

    versions: by number, a damaged one as its error. digests: of their bytes, in hex. latest:
    the number that the hint names; 0 if it names none.
    """

    place: str
    objects: tuple[ObjectInfo, ...]
    versions: Mapping[int, Manifest | Tombstone | CorruptData]
    digests: Mapping[int, str]
    latest: int

    @property
    def manifests(self) -> dict[int, Manifest]:
        """The versions that can be read."""
        return {n: found for n, found in self.versions.items() if isinstance(found, Manifest)}

    @property
    def damaged(self) -> dict[int, CorruptData]:
        """The versions that cannot be read."""
        return {n: found for n, found in self.versions.items() if isinstance(found, CorruptData)}

    def lost(self) -> list[str]:
        """Signs of a version that was here and cannot be read now, as sentences."""
        keys = {found.key for found in self.objects}
        aside = sorted(filter(_ASIDE.fullmatch, keys))
        orphans = [
            match[0]
            for key in sorted(keys)
            if (match := _BESIDE.fullmatch(key)) and match[1] not in keys
        ]
        told = [f"{key} is a damaged version that was moved aside" for key in aside]
        told += [f"{key} describes a version that is missing" for key in orphans]
        if self.latest > max(self.versions, default=0):
            told.append(f"{LATEST} names version {self.latest}, which is missing")
        return told


def take_inventory(store: ListingStore) -> Inventory:
    """Lists a place and reads its versions; raises UnsupportedError for those of a newer format."""
    objects = tuple(sorted(store.list(""), key=lambda found: found.key))
    versions: dict[int, Manifest | Tombstone | CorruptData] = {}
    digests = {}
    for key in [found.key for found in objects]:
        if number := version_of(key):
            content = store.get(key)
            digests[number] = version_digest(content)
            versions[number] = _version(content, number, f"{store}/{key}")
    return Inventory(
        place=str(store),
        objects=objects,
        versions=versions,
        digests=digests,
        latest=_latest(store),
    )


def _version(content: bytes, number: int, place: str) -> Manifest | Tombstone | CorruptData:
    try:
        return read_version(content, number)
    except CorruptData as error:
        return error
    except UnsupportedError as error:
        raise UnsupportedError(
            f"{place}: {error}. Use the millstream that wrote it; if it is damaged, move it away"
        ) from None


def _latest(store: ReadableStore) -> int:
    try:
        text = store.get(LATEST).decode("ascii", "replace").strip()
    except FileNotFoundError:
        return 0
    return int(text) if text.isdigit() and len(text) <= 12 else 0


def chunk_header(store: ReadableStore, key: str, size: int) -> Header:
    """The header of a chunk of that size, in one or two requests; raises CorruptData."""
    head = memoryview(store.get(key, (0, min(size, FIRST_BYTES))))
    length = HEAD_BYTES + header_bytes(head)
    if length > len(head):
        head = memoryview(store.get(key, (0, min(size, length))))
    return read_header(head)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """What `runs/` says of a finished job. settings: those of the job. Times are ISO, in UTC."""

    rows: int
    chunks: int
    nbytes: int
    settings: dict[str, Any]
    finished: str
    host: str
    libraries: dict[str, Any]


def run_record(store: ReadableStore, job: str) -> RunRecord | None:
    """The record of a job, by its digest in hex; None if there is none that can be read."""
    try:
        record = json.loads(store.get(run_key(job)))
        report = record["report"]
        return RunRecord(
            rows=report["samples"],
            chunks=report["chunks"],
            nbytes=report["bytes"],
            settings=record["job"]["settings"],
            finished=str(record["finished"]),
            host=str(record["host"]),
            libraries=record["libraries"],
        )
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        return None
