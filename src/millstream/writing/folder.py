"""The folder of an unfinished job inside its output, and what an output folder may hold.

    .job/job.json            the key of the job; without it nothing else here counts
    .job/inputs              digests of the inputs, to name those that change
    .job/lock                held with flock by the one process that runs the job
    .job/segments/000012     the rows of task 12, until they are in chunks
    .job/chunks/000003.json  chunk 3 is in its place
    .job/skipped.jsonl       inputs whose function raised
    .job/temporary/RUN/      files of one run that have no name yet

A file has its name only once it is whole, so a job killed at any moment goes on from here. Of
these segments and chunks/ are not synced to the disk: after a power cut what is not whole is not
believed, and made again.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from millstream.errors import CorruptData, OutputBusy, OutputNotEmpty, UnsupportedError
from millstream.store import LocalStore
from millstream.store.local import storage_errors
from millstream.writing.holdings import JOB, refuse_differing, refuse_foreign, refuse_others
from millstream.writing.identity import JobKey
from millstream.writing.segment import Skipped
from millstream.writing.work import ChunkRecord

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """The record of a chunk in its place. stop: the task and the row of it that come next."""

    chunk: ChunkRecord
    start: tuple[int, int]
    stop: tuple[int, int]


class JobFolder:
    """Opens, or goes on with, the job of a key in an output folder; a context manager.

    store: the output, whose unfinished files lie in this folder. Raises OutputNotEmpty if the
    output holds something else, OutputBusy if another process runs a job in it,
    UnsupportedError without POSIX locks.
    """

    def __init__(self, store: LocalStore, key: JobKey) -> None:
        if fcntl is None:
            raise UnsupportedError("writing datasets needs POSIX file locks: Linux or macOS")
        self._root = store.root / JOB
        self.segments = self._root / "segments"
        self._chunks = self._root / "chunks"
        # Of this run alone: a worker that outlives a killed run by a moment finds its folder gone.
        self.temporary = self._root / "temporary" / secrets.token_hex(4)
        self.store = replace(store, temporary=self.temporary)
        refuse_foreign(store, key)
        with storage_errors(store.root):
            self._root.mkdir(parents=True, exist_ok=True)
            lock = _lock(self._root)
        if lock is None:
            raise _busy(store)
        self._lock = lock
        try:
            with storage_errors(self._root):
                self._claim(key)
        except BaseException:
            os.close(self._lock)
            raise

    def _claim(self, key: JobKey) -> None:
        if (self._root / "job.json").exists():
            self._compare(key)
            self.clear_temporary()
            self.temporary.mkdir(parents=True)
        else:
            self._begin(key)
        self.segments.mkdir(exist_ok=True)
        self._chunks.mkdir(exist_ok=True)

    def _compare(self, key: JobKey) -> None:
        recorded = json.loads((self._root / "job.json").read_text())
        inputs = (self._root / "inputs").read_bytes()
        refuse_differing(self.store, key.differences(recorded["job"], recorded["function"], inputs))

    def _begin(self, key: JobKey) -> None:
        names = {entry.name for entry in self.store.root.iterdir()}
        try:
            refuse_others(self.store, key, names - {JOB})
        except OutputNotEmpty:
            _remove(self._root)
            raise
        _empty(self._root)
        self.temporary.mkdir(parents=True)
        job = {"job": key.summary(), "function": key.function.details()}
        self.store.put(f"{JOB}/inputs", key.inputs.to_bytes())
        self.store.put(f"{JOB}/job.json", json.dumps(job).encode())
        self.store.sync_names(JOB)

    def __enter__(self) -> JobFolder:
        return self

    def __exit__(self, *exc: object) -> None:
        self.clear_temporary()
        os.close(self._lock)

    def clear_temporary(self) -> None:
        """Removes what is left half-written: by this run, or by a killed one."""
        shutil.rmtree(self._root / "temporary", ignore_errors=True)

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

    def placed(self) -> dict[int, Placed]:
        """The chunks that are in their places, by sequence."""
        found = {int(path.stem): _placed(path.read_bytes()) for path in self._chunks.iterdir()}
        return {n: placed for n, placed in found.items() if placed and _exists(self.store, placed)}

    def note_skipped(self, skipped: Iterable[Skipped]) -> None:
        """Writes down skipped inputs, for good; noting one twice does no harm."""
        lines = "".join(json.dumps(asdict(some)) + "\n" for some in skipped)
        if not lines:
            return
        path = self._root / "skipped.jsonl"
        with storage_errors(path), path.open("a") as file:
            file.write(f"\n{lines}")  # the last line may be half of one
            file.flush()
            os.fsync(file.fileno())
            self.store.sync_names(JOB)

    def skipped(self) -> tuple[Skipped, ...]:
        """All that was noted, in the order of the inputs."""
        path = self._root / "skipped.jsonl"
        lines = path.read_bytes().splitlines() if path.exists() else []
        found = {some["input"]: Skipped(**some) for some in map(_json, lines) if some}
        return tuple(found[index] for index in sorted(found))

    def remove(self) -> None:
        """Removes the folder of a job that is done."""
        with storage_errors(self._root):
            _remove(self._root)

    def _put(self, path: Path, text: str) -> None:
        temporary = self.temporary / path.name
        with storage_errors(path):
            temporary.write_text(text)
            temporary.replace(path)


def remove_leftovers(store: LocalStore) -> None:
    """Removes the folder of a finished job, unless a process is still at it."""
    root = store.root / JOB
    if not root.exists():
        return
    with storage_errors(root), suppress(FileNotFoundError):
        lock = _lock(root)
        if lock is not None:
            try:
                _remove(root)
            finally:
                os.close(lock)


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
    lock = _lock(root)
    if lock is None:
        raise _busy(store)
    try:
        yield frozenset(map(_recorded, (root / "chunks").glob("*.json")))
    finally:
        os.close(lock)


def _recorded(file: Path) -> str:
    placed = _placed(file.read_bytes())
    if placed is None:
        raise CorruptData(
            f"{file} is not the record of a chunk; run the job of this folder to its end, or "
            f"remove {file.parents[1]} to give it up"
        )
    return placed.chunk.digest


def _busy(store: LocalStore) -> OutputBusy:
    return OutputBusy(
        f"{store}: another process is writing a dataset here; wait for it, or choose another "
        "output folder"
    )


def _lock(root: Path) -> int | None:
    """Takes the lock of a job's folder; None if another process has it."""
    lock = os.open(root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Whoever had it may have removed the folder since the file was opened.
        if os.path.samestat(os.fstat(lock), os.stat(root / "lock")):  # noqa: PTH116
            return lock
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        os.close(lock)
        raise
    os.close(lock)
    return None


def _empty(root: Path) -> None:
    """Removes all but the lock, and first what makes the rest count."""
    (root / "job.json").unlink(missing_ok=True)
    for entry in root.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        elif entry.name != "lock":
            entry.unlink()


def _remove(root: Path) -> None:
    """Removes a locked folder; the lock goes last, so nobody is at work in what is half gone."""
    _empty(root)
    (root / "lock").unlink()
    with suppress(OSError):  # another process may be about to begin
        root.rmdir()


def _json(content: bytes) -> dict[str, Any] | None:
    """An object; None for what a kill or a power cut left of one: it is written down again."""
    try:
        value = json.loads(content)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _placed(content: bytes) -> Placed | None:
    value = _json(content)
    if value is None:
        return None
    chunk = value["chunk"]
    shapes = tuple(None if shape is None else tuple(shape) for shape in chunk.pop("shapes"))
    start, stop = tuple(value["start"]), tuple(value["stop"])
    return Placed(chunk=ChunkRecord(**chunk, shapes=shapes), start=start, stop=stop)


def _exists(store: LocalStore, placed: Placed) -> bool:
    path = store.path(f"chunks/{placed.chunk.digest}")
    return path.exists() and path.stat().st_size == placed.chunk.size
