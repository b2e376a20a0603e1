"""The folder of an unfinished job inside its output, and what an output folder may hold.

    .job/job.json            the key of the job
    .job/lock                held with flock by the one process that runs the job
    .job/segments/000012     the rows of task 12, until they are in chunks
    .job/chunks/000003.json  chunk 3 is in its place
    .job/skipped.jsonl       inputs whose function raised
    .job/temporary/          files that have no name yet

A file has its name only once it is whole, so a job killed at any moment goes on from here.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from millstream.errors import CorruptData, OutputBusy, OutputNotEmpty, UnsupportedError
from millstream.store.local import LocalStore, storage_errors
from millstream.writing.identity import JobKey
from millstream.writing.segment import Skipped
from millstream.writing.work import ChunkRecord

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

JOB = ".job"


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """The record of a chunk in its place. stop: the task and the row of it that come next."""

    chunk: ChunkRecord
    start: tuple[int, int]
    stop: tuple[int, int]


class JobFolder:
    """Opens, or goes on with, the job of a key in an output folder; a context manager.

    Raises OutputNotEmpty if the folder holds something else, OutputBusy if another process
    runs a job in it, UnsupportedError without POSIX locks.
    """

    def __init__(self, store: LocalStore, key: JobKey) -> None:
        if fcntl is None:
            raise UnsupportedError("writing datasets needs POSIX file locks: Linux or macOS")
        self._root = store.root / JOB
        self.segments = self._root / "segments"
        self.temporary = self._root / "temporary"
        self._chunks = self._root / "chunks"
        refuse_foreign(store)
        with storage_errors(store.root):
            for folder in (self.segments, self.temporary, self._chunks):
                folder.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self._root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
        try:
            self._claim(store, key)
        except BaseException:
            os.close(self._lock)
            raise

    def _claim(self, store: LocalStore, key: JobKey) -> None:
        _take(self._lock, store)
        recorded = self._root / "job.json"
        if not recorded.exists():
            self._put(recorded, json.dumps(key.to_json()))
        elif changed := key.differences(json.loads(recorded.read_text())):
            raise OutputNotEmpty(
                f"{store} holds an unfinished job that differs from this one in: "
                f"{'; '.join(changed)}. Run that job to its end, choose another output folder, or "
                f"remove {self._root} to give it up"
            )
        self.clear_temporary()

    def __enter__(self) -> JobFolder:
        return self

    def __exit__(self, *exc: object) -> None:
        self.clear_temporary()
        os.close(self._lock)

    def clear_temporary(self) -> None:
        """Removes what killed workers left half-written."""
        if self.temporary.exists():
            for file in self.temporary.iterdir():
                file.unlink(missing_ok=True)

    def segment(self, task: int) -> Path:
        """The file of a task's segment."""
        return self.segments / f"{task:06}"

    def drop_segments(self, tasks: Iterable[int]) -> None:
        """Removes segments whose rows are all in chunks."""
        for task in tasks:
            self.segment(task).unlink(missing_ok=True)

    def record(self, sequence: int, placed: Placed) -> None:
        """Writes down that a chunk is in its place."""
        self._put(self._chunks / f"{sequence:06}.json", json.dumps(asdict(placed)))

    def placed(self, store: LocalStore) -> dict[int, Placed]:
        """The chunks that are in their places, by sequence."""
        found = {int(f.stem): _placed(json.loads(f.read_text())) for f in self._chunks.iterdir()}
        return {sequence: placed for sequence, placed in found.items() if _exists(store, placed)}

    def note_skipped(self, skipped: Iterable[Skipped]) -> None:
        """Writes down skipped inputs; noting one twice does no harm."""
        lines = "".join(json.dumps(asdict(some)) + "\n" for some in skipped)
        if lines:
            with storage_errors(self._root), (self._root / "skipped.jsonl").open("a") as file:
                file.write(lines)

    def skipped(self) -> tuple[Skipped, ...]:
        """All that was noted, in the order of the inputs."""
        path = self._root / "skipped.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        found = {some["input"]: Skipped(**some) for some in map(_json_line, lines) if some}
        return tuple(found[index] for index in sorted(found))

    def remove(self) -> None:
        """Removes the folder of a job that is done."""
        shutil.rmtree(self._root)

    def _put(self, path: Path, text: str) -> None:
        temporary = self.temporary / path.name
        with storage_errors(path):
            temporary.write_text(text)
            temporary.replace(path)


def remove_leftovers(store: LocalStore) -> None:
    """Removes the folder of a finished job that was killed before it had removed it."""
    shutil.rmtree(store.root / JOB, ignore_errors=True)


@contextmanager
def unfinished(store: LocalStore) -> Iterator[frozenset[str] | None]:
    """Keeps jobs away while others than jobs change a dataset; gives what one has left here.

    That is the digests of the chunks that an unfinished job has recorded; None if there is no
    such job. Raises OutputBusy if one is running.
    """
    root = store.root / JOB
    if not root.is_dir():
        yield None
        return
    lock = os.open(root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    try:
        _take(lock, store)
        yield frozenset(map(_recorded, (root / "chunks").glob("*.json")))
    finally:
        os.close(lock)


def _take(lock: int, store: LocalStore) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OutputBusy(
            f"{store}: another process is writing a dataset here; wait for it, or choose another "
            "output folder"
        ) from None


def _recorded(file: Path) -> str:
    try:
        return _placed(json.loads(file.read_text())).chunk.digest
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptData(
            f"{file} is not the record of a chunk ({error!r}); run the job of this folder to its "
            f"end, or remove {file.parents[1]} to give it up"
        ) from None


def _json_line(line: str) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except ValueError:  # the last line of a killed process; its task is not done, and runs again
        return None
    return value if isinstance(value, dict) else None


def _placed(value: dict[str, Any]) -> Placed:
    chunk = value["chunk"]
    shapes = tuple(None if shape is None else tuple(shape) for shape in chunk.pop("shapes"))
    start, stop = tuple(value["start"]), tuple(value["stop"])
    return Placed(chunk=ChunkRecord(**chunk, shapes=shapes), start=start, stop=stop)


def _exists(store: LocalStore, placed: Placed) -> bool:
    path = store.path(f"chunks/{placed.chunk.digest}")
    return path.exists() and path.stat().st_size == placed.chunk.size


def refuse_foreign(store: LocalStore) -> None:
    """Raises OutputNotEmpty unless a folder is absent, empty, or holds a job of ours alone."""
    root = store.root
    if not root.exists():
        return
    if not root.is_dir():
        raise OutputNotEmpty(f"{store} is a file; give a folder")
    names = {entry.name for entry in root.iterdir()}
    foreign = sorted(
        names - ({JOB, "chunks", "versions", "latest", "runs"} if JOB in names else set())
    )
    if foreign:
        shown = ", ".join(foreign[:5]) + (", ..." if len(foreign) > 5 else "")
        raise OutputNotEmpty(
            f"{store} is not empty: it holds {shown}. Choose an empty folder; nothing was changed"
        )
