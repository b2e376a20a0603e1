"""Where the segments of a job lie: in a folder, or in the bucket itself.

In a folder, which all workers of the job see, they are files. Workers on other machines than the
one that runs the job, and jobs that are done in shards, share no local disk: where the output is
a bucket they leave segments there, as objects.

    segments/000012           of a folder: the rows of task 12, until they are in chunks
    segments/000012/ID        the same of a bucket; ID: of the run of the task that made it
    segments/000012/outline   the one that counts is there, and whole; what one needs to cut chunks

A segment has its name only once it is whole, as far as a kill goes; a file is not synced to the
disk, so after a power cut its checksum decides. Two workers may be at one task, as a machine that
seems to be gone may be slow, and what they make differs at least where it is encrypted: so each
writes what nobody else does, and then in one step says that this is it.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import accumulate, islice
from pathlib import Path
from typing import Protocol, TypeVar

from millstream.encryption import Cipher
from millstream.errors import CannotDecrypt
from millstream.store import Store
from millstream.store.local import storage_errors
from millstream.writing.at_once import at_once
from millstream.writing.gather import Room
from millstream.writing.segment import Segment, SegmentWriter, Span
from millstream.writing.segment_reading import Outline, Piece, has_segment, read_segment
from millstream.writing.temporary import Temporary

# Requests at once of one process for segments and their outlines.
AT_ONCE = 8
# Large spans of rows are fetched in pieces, side by side.
RANGE_BYTES = 8_000_000
# Of what earlier runs left, so many outlines are read at a time.
OUTLINES_AHEAD = 64
OUTLINE = "/outline"
ID_BYTES = 8

T = TypeVar("T")


class Segments(Protocol):
    """What a job and its workers ask of the place where segments lie."""

    def writer(self, task: int, cipher: Cipher | None) -> AbstractContextManager[SegmentWriter]:
        """A writer of the segment of a task."""

    def keep(self, writer: SegmentWriter) -> bytes | None:
        """Gives a finished segment its name; returns what `made` wants of it elsewhere."""

    def made(self, task: int, kept: bytes | None, cipher: Cipher | None) -> Segment:
        """What a worker has just made, of rows perhaps only how many bytes they have."""

    def left(self, tasks: Iterable[int], cipher: Cipher | None) -> Iterator[Segment | None]:
        """What earlier runs left of each of some tasks; None if that cannot be used."""

    def there(self) -> set[int]:
        """The tasks of which there is something, usable or not."""

    def read(self, wanted: Mapping[int, set[int]], cipher: Cipher | None) -> dict[int, Segment]:
        """Segments by task, with the rows of the parts that are wanted."""

    def drop(self, tasks: Iterable[int]) -> None:
        """Removes segments whose rows are all in chunks."""


@dataclass(frozen=True, slots=True)
class FolderSegments:
    """Files of a folder. temporary: on the same file system."""

    folder: Path
    temporary: Path

    @contextmanager
    def writer(self, task: int, cipher: Cipher | None) -> Iterator[SegmentWriter]:
        """Writes into a file of its own."""
        name = _name(task)
        path = self.temporary / f"{name}.{secrets.token_hex(4)}"
        with SegmentWriter(path, name, cipher) as writer:
            yield writer

    def keep(self, writer: SegmentWriter) -> None:
        """One rename."""
        path = self.folder / writer.name
        with storage_errors(path):
            writer.path.replace(path)

    def made(self, task: int, kept: bytes | None, cipher: Cipher | None) -> Segment:
        """The segment where it lies."""
        return read_segment(self.folder / _name(task), cipher)

    def left(self, tasks: Iterable[int], cipher: Cipher | None) -> Iterator[Segment | None]:
        """Those that are whole."""
        for task in tasks:
            path = self.folder / _name(task)
            yield read_segment(path, cipher) if has_segment(path, cipher) else None

    def there(self) -> set[int]:
        """The names in the folder."""
        return {int(path.name) for path in self.folder.iterdir()}

    def read(self, wanted: Mapping[int, set[int]], cipher: Cipher | None) -> dict[int, Segment]:
        """Segments that are mapped, not read."""
        return {
            task: read_segment(self.folder / _name(task), cipher, parts)
            for task, parts in wanted.items()
        }

    def drop(self, tasks: Iterable[int]) -> None:
        """Removes files."""
        for task in tasks:
            (self.folder / _name(task)).unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class BucketSegments:
    """Objects below a prefix, which ends with a slash."""

    store: Store
    prefix: str
    temporary: Temporary
    room: Room

    @contextmanager
    def writer(self, task: int, cipher: Cipher | None) -> Iterator[SegmentWriter]:
        """Writes a local file."""
        name = _name(task)
        with (
            self.temporary.open() as folder,
            SegmentWriter(folder / f"segment-{name}", name, cipher) as writer,
        ):
            yield writer

    def keep(self, writer: SegmentWriter) -> bytes:
        """Uploads the file, and then the outline, which counts."""
        made_by = secrets.token_bytes(ID_BYTES)
        self.store.put_file(f"{self.prefix}{writer.name}/{made_by.hex()}", writer.path)
        outline = made_by + writer.outline()
        self.store.put(f"{self.prefix}{writer.name}{OUTLINE}", outline)
        return outline

    def made(self, task: int, kept: bytes | None, cipher: Cipher | None) -> Segment:
        """From the outline, which came with the worker's answer."""
        return _outline(task, kept or self._outline(task), cipher).segment()

    def left(self, tasks: Iterable[int], cipher: Cipher | None) -> Iterator[Segment | None]:
        """Those whose outlines are there; some are asked for ahead."""
        known = self.there()
        for some in batched(tasks, OUTLINES_AHEAD):
            there = [task for task in some if task in known]
            outlines = dict(zip(there, at_once(self._outline, there, AT_ONCE), strict=True))
            for task in some:
                content = outlines.get(task)
                yield None if content is None else _usable(task, content, cipher)

    def there(self) -> set[int]:
        """Those with outlines."""
        names = (info.key[len(self.prefix) :] for info in self.store.list(self.prefix))
        return {int(name.removesuffix(OUTLINE)) for name in names if name.endswith(OUTLINE)}

    def read(self, wanted: Mapping[int, set[int]], cipher: Cipher | None) -> dict[int, Segment]:
        """Outlines, and by ranges the rows of the parts that are wanted."""
        contents = dict(zip(wanted, at_once(self._outline, wanted, AT_ONCE), strict=True))
        outlines = {task: _outline(task, content, cipher) for task, content in contents.items()}
        rows = self._rows(
            [(task, span) for task in wanted for span in outlines[task].spans(wanted[task])],
            {
                task: f"{self._key(task)}/{content[:ID_BYTES].hex()}"
                for task, content in contents.items()
            },
        )
        return {task: outlines[task].join(rows[task], wanted[task]) for task in wanted}

    def _rows(
        self, spans: Sequence[tuple[int, Span]], keys: Mapping[int, str]
    ) -> dict[int, list[Piece]]:
        """The bytes of spans, by task. keys: of the segments."""
        sizes = [stop - start for _, (start, stop) in spans]
        with self.temporary.open() as folder:
            room = self.room.take(sum(sizes), folder)
        ends = accumulate(sizes)
        found: dict[int, list[Piece]] = {task: [] for task, _ in spans}
        fetches: list[tuple[str, Span, memoryview]] = []
        for (task, (start, stop)), end in zip(spans, ends, strict=True):
            into = room[end - (stop - start) : end]
            found[task].append((start, into))
            fetches += [
                (
                    keys[task],
                    (start + at, min(start + at + RANGE_BYTES, stop)),
                    into[at : at + RANGE_BYTES],
                )
                for at in range(0, stop - start, RANGE_BYTES)
            ]
        at_once(self._fetch, fetches, AT_ONCE)
        return found

    def _fetch(self, wanted: tuple[str, Span, memoryview]) -> None:
        key, span, into = wanted
        into[:] = self.store.get(key, span)

    def drop(self, tasks: Iterable[int]) -> None:
        """Outlines go first."""
        folders = {f"{self._key(task)}/" for task in tasks}
        # Many are of a job that goes on, whose earlier runs removed most.
        prefixes = folders if len(folders) <= AT_ONCE else {self.prefix}
        listed = at_once(lambda prefix: list(self.store.list(prefix)), prefixes, AT_ONCE)
        keys = {info.key for some in listed for info in some}
        keys = {key for key in keys if f"{key.rpartition('/')[0]}/" in folders}
        outlines = {key for key in keys if key.endswith(OUTLINE)}
        at_once(self.store.delete, outlines, AT_ONCE)
        at_once(self.store.delete, keys - outlines, AT_ONCE)

    def _outline(self, task: int) -> bytes:
        return self.store.get(self._key(task) + OUTLINE)

    def _key(self, task: int) -> str:
        return self.prefix + _name(task)


def _name(task: int) -> str:
    return f"{task:06}"


def _outline(task: int, content: bytes, cipher: Cipher | None) -> Outline:
    return Outline(_name(task), content[ID_BYTES:], cipher)


def _usable(task: int, content: bytes, cipher: Cipher | None) -> Segment | None:
    """None if it is encrypted with another key."""
    try:
        return _outline(task, content, cipher).segment()
    except CannotDecrypt:
        return None


def batched(values: Iterable[T], count: int) -> Iterator[list[T]]:
    """So many at a time."""
    iterator = iter(values)
    while some := list(islice(iterator, count)):
        yield some
