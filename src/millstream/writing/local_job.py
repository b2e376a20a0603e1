"""Jobs in a folder: what outlives a kill and what the run works with lie side by side in .job/.

Of these, segments and the records of chunks are not synced to the disk: after a power cut what is
not whole is not believed, and made again.
"""

from __future__ import annotations

import secrets
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from millstream.errors import OutputBusy, OutputNotEmpty
from millstream.store import LocalStore
from millstream.store.local import storage_errors, wait_for_disk, write_file
from millstream.writing.holdings import JOB
from millstream.writing.made import FolderMade
from millstream.writing.scratch import Scratch, lock_folder
from millstream.writing.segments import FolderSegments
from millstream.writing.temporary import NodeTemporary, RunTemporary, Temporary


@dataclass(frozen=True, slots=True)
class LocalChunks:
    """Chunks that become files of the output, and records of them in the folder `records`.

    temporary: of the run, on the same file system.
    """

    store: LocalStore
    records: Path
    temporary: Path

    def put(self, digest: str, pieces: Iterable[memoryview]) -> None:
        """Writes the chunk to a file without a name of its own; the disk is not waited for."""
        # Two workers may be at one chunk: a machine that seems to be gone may be slow.
        file = self._file(digest)
        own = file.with_name(f"{file.name}.{secrets.token_hex(4)}")
        write_file(own, pieces)
        with storage_errors(file):
            own.replace(file)

    def settle(self, digest: str) -> None:
        """Waits until the chunk is on the disk, then gives it its name."""
        file = self._file(digest)
        with storage_errors(file):
            wait_for_disk(file)
        self.store.adopt(file, f"chunks/{digest}")

    def _file(self, digest: str) -> Path:
        return self.temporary / f"chunk-{digest}"

    def record(self, sequence: int, content: bytes) -> None:
        """Writes a small file, whole."""
        path = self.records / f"{sequence:06}.json"
        temporary = self.temporary / f"{path.name}.{secrets.token_hex(4)}"
        with storage_errors(path):
            temporary.write_bytes(content)
            temporary.replace(path)


class LocalJob:
    """A job of a folder. flock keeps runs of it apart. name: of the folder in it for the job.

    shared: whether it is run in shards, which may be at it side by side.
    """

    # All of the dataset will lie on this disk: it has room for segments that wait.
    waiting_bytes = sys.maxsize

    def __init__(self, store: LocalStore, name: str = JOB, *, shared: bool = False) -> None:
        self.store, self.name, self._shared = store, name, shared
        self._root = store.root / name
        self.scratch: Scratch

    def names(self) -> set[str]:
        """All that lies in the folder, whatever it is."""
        root = self.store.root
        if root.exists() and not root.is_dir():
            raise OutputNotEmpty(f"{self.store} is a file; give a folder")
        return {entry.name for entry in root.iterdir()} if root.exists() else set()

    def enter(self) -> None:
        """Locks .job/."""
        with storage_errors(self.store.root):
            self._root.mkdir(parents=True, exist_ok=True)
            self.scratch = self._lock()
        self.store = replace(self.store, temporary=self.scratch.temporary)

    def _lock(self) -> Scratch:
        scratch = lock_folder(self._root, shared=self._shared)
        if scratch is None:
            raise OutputBusy(
                f"{self.store}: another process is writing a dataset here; wait for it, or choose "
                "another output folder"
            )
        return scratch

    def leave(self, error: BaseException | None) -> None:
        """Gives the lock back; what is left goes on when the same call is made again."""
        self.scratch.close()

    def found(self) -> tuple[bytes, bytes] | None:
        """job.json and inputs."""
        if not (self._root / "job.json").exists():
            return None
        return (self._root / "job.json").read_bytes(), (self._root / "inputs").read_bytes()

    def begin(self, job: bytes, inputs: bytes) -> None:
        """job.json comes last: it is what makes the rest count. Of several shards one makes it."""
        if not self._shared:
            self.scratch.empty("job.json")
        self.scratch.prepare()
        self.store.put(f"{self.name}/inputs", inputs)
        put = self.store.put_if_absent if self._shared else self.store.put
        put(f"{self.name}/job.json", job)
        self.store.sync_names(self.name)

    def stopped(self, name: str) -> tuple[bytes, bytes] | None:
        """The same of the job in another folder, if no process has its lock."""
        other = LocalJob(self.store, name)
        with suppress(FileNotFoundError):  # it ends just now
            scratch = lock_folder(other._root)
            if scratch is not None:
                try:
                    return other.found()
                finally:
                    scratch.close()
        return None

    def temporary(self, *, apart: bool) -> Temporary:
        """Where workers have files meanwhile."""
        folder = self.scratch.temporary
        return NodeTemporary(folder) if apart else RunTemporary(folder)

    def segments(self, *, apart: bool) -> FolderSegments:
        """All machines see the folder."""
        return FolderSegments(self.scratch.segments, self.scratch.temporary)

    def made(self, *, apart: bool) -> FolderMade:
        """The same."""
        scratch = self.scratch
        return FolderMade(store=self.store, folder=scratch.segments, temporary=scratch.temporary)

    def chunks(self, *, apart: bool) -> LocalChunks:
        """For the workers of this run."""
        records = self._root / "chunks"
        records.mkdir(exist_ok=True)
        return LocalChunks(self.store, records, self.scratch.temporary)

    def records(self) -> Iterator[tuple[int, bytes]]:
        """What was recorded of chunks, whole or not."""
        paths = (self._root / "chunks").glob("*.json")
        return ((int(path.stem), path.read_bytes()) for path in paths)

    def sync(self) -> None:
        """The chunks are on the disk; now their names are too."""
        self.store.sync_names("chunks")

    def remove(self) -> None:
        """Removes .job/."""
        self.scratch.remove("job.json")

    def keep(self) -> None:
        """Removes the folders of the run."""
        self.scratch.clear_temporary()
        shutil.rmtree(self.scratch.segments, ignore_errors=True)

    def is_bare(self) -> bool:
        """No segment, and no record of a chunk; of shards others may be about to make some."""
        return not (self._shared or any(self.scratch.segments.iterdir()) or any(self.records()))

    def remove_left(self) -> None:
        """The same, unless a process has the lock."""
        if not self._root.exists():
            return
        with storage_errors(self._root), suppress(FileNotFoundError):
            scratch = lock_folder(self._root)
            if scratch is not None:
                try:
                    scratch.remove("job.json")
                finally:
                    scratch.close()

    @contextmanager
    def left(self) -> Iterator[Iterable[tuple[int, bytes]] | None]:
        """The records, under the lock."""
        if not self._root.is_dir():
            yield None
            return
        scratch = self._lock()
        try:
            yield self.records()
        finally:
            scratch.close()
