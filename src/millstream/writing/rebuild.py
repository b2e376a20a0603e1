"""A lost manifest from the chunks of the job that wrote it: each header says its job and place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from millstream.errors import CorruptData, DatasetNotFound, UsageError
from millstream.format import Header, Manifest, object_digest
from millstream.format.keys import chunk_key, chunk_of
from millstream.store import ObjectInfo, ReadableStore, blocks
from millstream.units import size_text
from millstream.writing.commit import build_manifest, shaping
from millstream.writing.inventory import RunRecord, chunk_header, run_record
from millstream.writing.placed import ChunkRecord

Advance = Callable[[int], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundChunk:
    """A chunk whose header can be read. digest: its name."""

    digest: str
    header: Header


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundJob:
    """The chunks of one job, by sequence, and what `runs/` says of it."""

    digest: str
    chunks: tuple[FoundChunk, ...]
    record: RunRecord | None

    @property
    def rows(self) -> int:
        """The rows of its chunks."""
        return sum(chunk.header.layout.rows for chunk in self.chunks)

    @property
    def nbytes(self) -> int:
        """The bytes of its chunks."""
        return sum(chunk.header.size for chunk in self.chunks)

    def __str__(self) -> str:
        ended = f"finished {self.record.finished}" if self.record else "no record of its end"
        return (
            f"{self.digest}  {self.rows:,} rows, {len(self.chunks):,} chunks, "
            f"{size_text(self.nbytes)}, {ended}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """All that lies in chunks/. unreadable: what is wrong, by the chunk's name."""

    jobs: tuple[FoundJob, ...]
    unreadable: Mapping[str, str]


def find_jobs(store: ReadableStore, objects: Iterable[ObjectInfo], *, threads: int) -> Found:
    """Reads the headers of all chunks."""
    by_job: dict[str, list[FoundChunk]] = {}
    unreadable = {}
    chunks = [(name, info) for info in objects if (name := chunk_of(info.key))]
    with ThreadPoolExecutor(threads) as pool:
        found = pool.map(lambda chunk: _header(store, chunk[1]), chunks)
        for (name, _), header in zip(chunks, found, strict=True):
            if isinstance(header, CorruptData):
                unreadable[name] = str(header)
                continue
            chunk = FoundChunk(digest=name, header=header)
            by_job.setdefault(header.identity.job.hex(), []).append(chunk)
    jobs = [
        FoundJob(
            digest=job,
            chunks=tuple(sorted(some, key=lambda chunk: chunk.header.identity.sequence)),
            record=run_record(store, job),
        )
        for job, some in sorted(by_job.items())
    ]
    return Found(jobs=tuple(jobs), unreadable=unreadable)


def _header(store: ReadableStore, info: ObjectInfo) -> Header | CorruptData:
    try:
        header = chunk_header(store, info.key, info.size)
    except CorruptData as error:
        return error
    if header.size != info.size:
        return CorruptData(f"has {info.size:,} bytes, its header says {header.size:,}")
    return header


def choose_job(found: Found, asked: str | None, place: str) -> FoundJob:
    """The one job, or the one that was asked for by its digest or the start of it."""
    listed = "".join(f"\n  {job}" for job in found.jobs)
    if not found.jobs:
        raise DatasetNotFound(f"{place} holds no chunk that can be read: nothing to rebuild from")
    if asked is None and len(found.jobs) > 1:
        raise UsageError(
            f"{place} holds the chunks of {len(found.jobs)} jobs and no manifest; choose one with "
            f"--job:{listed}"
        )
    chosen = [job for job in found.jobs if job.digest.startswith(asked or "")]
    if len(chosen) != 1:
        raise UsageError(f"--job {asked} names {len(chosen)} of the jobs here:{listed}")
    return chosen[0]


def check_job(found: Found, job: FoundJob) -> list[str]:
    """What one must know of the job's chunks; raises CorruptData if some are known to be missing.

    Only `runs/` says how many there were; without it the last ones could be missing unseen.
    """
    counts = Counter(chunk.header.identity.sequence for chunk in job.chunks)
    wanted = job.record.chunks if job.record else max(counts) + 1
    missing = [number for number in range(wanted) if number not in counts]
    double = [number for number, count in counts.items() if count > 1]
    damaged = "".join(f"\n  chunks/{name}: {why}" for name, why in found.unreadable.items())
    if missing:
        raise CorruptData(
            f"of the {wanted:,} chunks of the job {job.digest} these are missing: "
            f"{_some(missing)}. Copy them back, and repair again"
            + (f". Damaged, and of no known job:{damaged}" if damaged else "")
        )
    if double:
        raise CorruptData(
            f"several chunks of the job {job.digest} claim to be number {_some(double)}; move "
            "those away that do not belong, and repair again"
        )
    if job.record is None and damaged:
        raise CorruptData(
            f"these chunks are damaged, and could belong to the job {job.digest}:{damaged}\nCopy "
            "them back, or move them away if the dataset never had them, and repair again"
        )
    if len({chunk.header.layout.schema for chunk in job.chunks}) > 1:
        raise CorruptData(f"the chunks of the job {job.digest} differ in their schema")
    if job.record and (job.record.rows, job.record.nbytes) != (job.rows, job.nbytes):
        raise CorruptData(
            f"the job {job.digest} wrote {job.record.rows:,} rows, {job.record.nbytes:,} bytes; "
            f"its chunks here hold {job.rows:,} rows, {job.nbytes:,} bytes"
        )
    return _notes(job)


def _notes(job: FoundJob) -> list[str]:
    if job.record:
        return []
    return [
        f"runs/{job.digest}.json is missing, so chunks after number {len(job.chunks) - 1} could "
        "be missing too, and nothing here can tell",
        "the settings of the job are not known, so the version may have another digest than the "
        "lost one: checkpoints that name that one will say so",
    ]


def check_digests(store: ReadableStore, job: FoundJob, *, threads: int, advance: Advance) -> None:
    """Reads every byte of the job's chunks; raises CorruptData if one is not what its name says."""

    def is_damaged(chunk: FoundChunk) -> bool:
        content = blocks(store, chunk_key(chunk.digest), chunk.header.size)
        return object_digest(content).hex() != chunk.digest

    damaged = []
    with ThreadPoolExecutor(threads) as pool:
        for chunk, bad in zip(job.chunks, pool.map(is_damaged, job.chunks), strict=True):
            advance(chunk.header.size)
            if bad:
                damaged.append(chunk.digest)
    if damaged:
        names = "".join(f"\n  chunks/{name}" for name in damaged)
        raise CorruptData(f"these chunks are damaged; copy them back, and repair again:{names}")


def rebuild(job: FoundJob, settings: Mapping[str, Any] | None) -> Manifest:
    """Version 1, as the job published it; settings: those of the manifest, if they are known."""
    schema = job.chunks[0].header.layout.schema
    if settings is None:
        settings = {} if job.record is None else shaping(job.record.settings)
    return build_manifest(schema, [_record(chunk) for chunk in job.chunks], dict(settings))


def _record(chunk: FoundChunk) -> ChunkRecord:
    return ChunkRecord.of(chunk.header.layout, chunk.digest, chunk.header.size)


def _some(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:10]))
    return shown if len(numbers) <= 10 else f"{shown} and {len(numbers) - 10:,} more"
