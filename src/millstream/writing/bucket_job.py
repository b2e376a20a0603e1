"""Jobs in a bucket: they work in a folder of the local disk, and note in the bucket what is done.

    owner                    in .job/: which run is at it, see claim.py
    owners/3-16              which run is at shard 3 of 16

The folder is lost with its machine; then the segments in it are made again. On the same machine
the next run goes on with them.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

from millstream.errors import OutputBusy, OutputNotEmpty, StorageError, StoreUnavailable
from millstream.store import Store
from millstream.store.local import storage_errors
from millstream.writing.at_once import at_once
from millstream.writing.claim import busy, claim, release
from millstream.writing.gather import Room
from millstream.writing.holdings import JOB
from millstream.writing.made import BucketMade, FolderMade, MadeFiles
from millstream.writing.scratch import SEGMENTS, Scratch, lock_folder, own_folder
from millstream.writing.segments import BucketSegments, FolderSegments, Segments
from millstream.writing.temporary import NodeTemporary, RunTemporary, Temporary

# Requests at once for small objects: records of chunks are read, and removed.
AT_ONCE = 16
# Of segments that wait on the local disk for slower tasks before them; of those that lie in the
# bucket, of their outlines in memory.
WAITING_BYTES = 2_000_000_000


@dataclass(frozen=True, slots=True)
class BucketChunks:
    """Chunks that are uploaded; each is a local file for as long as that takes.

    records: what the keys of their records begin with.
    """

    store: Store
    records: str
    temporary: Temporary

    def put(self, digest: str, pieces: Iterable[memoryview]) -> None:
        """Uploads the chunk, a large one in parts."""
        with self.temporary.open() as folder:
            file = folder / f"chunk-{digest}"
            try:
                with storage_errors(file), file.open("wb") as opened:
                    opened.writelines(pieces)
                self.store.put_file(f"chunks/{digest}", file)
            finally:
                file.unlink(missing_ok=True)

    def settle(self, digest: str) -> None:
        """An object that is there is there to stay."""

    def record(self, sequence: int, content: bytes) -> None:
        """Makes a small object."""
        self.store.put(f"{self.records}{sequence:06}.json", content)


class BucketJob:
    """A job of a prefix. name: of the folder below it for the job. shard: if it is run in these."""

    waiting_bytes = WAITING_BYTES

    def __init__(
        self, store: Store, name: str = JOB, *, take_over: bool = False, shard: str | None = None
    ) -> None:
        self.store, self.name, self._shard = store, name, shard
        self._whole, self._shards = f"{name}/owner", f"{name}/owners/"
        self._owner = self._whole if shard is None else f"{self._shards}{shard}"
        self._job_json = f"{name}/job.json"
        self._inputs, self._records = f"{name}/inputs", f"{name}/chunks/"
        self._segments = f"{name}/{SEGMENTS}/"
        # A place of its own for each job that may run beside others.
        self._scratch_of = str(store) if name == JOB else f"{store}/{name}"
        if shard is not None:
            self._scratch_of += f"/{shard}"
        self._take_over = take_over
        self._claim: str | None = None
        self.scratch: Scratch

    def names(self) -> set[str]:
        """What lies directly below the prefix, but for what a killed probe leaves."""
        found = self.store.folder("")
        names = {*found.folders, *(info.key for info in found.objects)}
        return {name for name in names if not name.startswith(".probe-")}

    def enter(self) -> None:
        """Locks the scratch folder, then claims the job."""
        root = scratch_folder(self._scratch_of)
        with storage_errors(root):
            scratch = lock_folder(root)
        if scratch is None:
            raise OutputBusy(
                f"{self.store}: another process of this machine is writing a dataset here (it "
                f"works in {root}); wait for it, or choose another output"
            )
        self.scratch = scratch
        try:
            with storage_errors(root):
                # A shard that is run twice is work done twice, and nothing else.
                take_over = self._take_over or self._shard is not None
                self._claim = claim(self.store, self._owner, scratch, take_over=take_over)
            self._refuse_others()
        except BaseException as error:
            self.leave(error)
            raise

    def _refuse_others(self) -> None:
        """Shards are not run beside a run of the whole job."""
        if self._take_over:
            return
        is_shard = self._shard is not None
        for key in self._claims(self._keys()):
            if (key == self._whole) == is_shard:
                raise busy(self.store, key)

    def leave(self, error: BaseException | None) -> None:
        """Gives the job back, for a run from anywhere."""
        mine, self._claim = self._claim, None
        # Who could not be reached a moment ago is not waited for again: this machine may go on.
        if mine is not None and not isinstance(error, StoreUnavailable):
            with suppress(StorageError):
                release(self.store, self._owner, mine)
        self._end_scratch(error)

    def _end_scratch(self, error: BaseException | None) -> None:
        """The same call goes on with the scratch folder if it was stopped by what may pass.

        A call that is refused leaves alone what a killed one has there.
        """
        passing = isinstance(error, StorageError | KeyboardInterrupt)
        refused = isinstance(error, OutputBusy | OutputNotEmpty)
        left = refused and any(self.scratch.segments.glob("*"))
        if self._shard is not None or (error is not None and not passing and not left):
            with suppress(OSError):
                self.scratch.remove("job")
        self.scratch.close()

    def found(self) -> tuple[bytes, bytes] | None:
        """job.json and inputs; these may be missing, and then say no more than that they differ."""
        try:
            job = self.store.get(self._job_json)
        except FileNotFoundError:
            return None
        self._tie(job)
        return job, self._inputs_digests()

    def _inputs_digests(self) -> bytes:
        try:
            return self.store.get(self._inputs)
        except FileNotFoundError:
            return b""

    def stopped(self, name: str) -> tuple[bytes, bytes] | None:
        """The same of the job in another folder, if nobody claims it."""
        other = BucketJob(self.store, name)
        keys = other._keys()
        if other._claims(keys) or other._job_json not in keys:
            return None
        try:
            return self.store.get(other._job_json), other._inputs_digests()
        except FileNotFoundError:  # it ends just now
            return None

    def begin(self, job: bytes, inputs: bytes) -> None:
        """job.json decides between two that begin at once; what it stands on is cleared before.

        Shards begin together, and what lies in a folder of this name is theirs.
        """
        if self._shard is not None:
            self.store.put(self._inputs, inputs)
            self.store.put_if_absent(self._job_json, job)
            return
        self._delete(key for key in self._keys() if key != self._owner)
        if not self.store.put_if_absent(self._job_json, job):
            raise busy(self.store, self._owner)
        self.store.put(self._inputs, inputs)
        self._tie(job)

    def _tie(self, job: bytes) -> None:
        """Makes sure that the scratch folder holds nothing of another job than this one."""
        note, digest = self.scratch.root / "job", blake3(job).hexdigest()
        if not note.exists() or note.read_text() != digest:
            self.scratch.empty("job")
            note.write_text(digest)

    def temporary(self, *, apart: bool) -> Temporary:
        """Where workers have files meanwhile."""
        return NodeTemporary(None) if apart else RunTemporary(self.scratch.temporary)

    def chunks(self, *, apart: bool) -> BucketChunks:
        """For the workers of this run."""
        return BucketChunks(self.store, self._records, self.temporary(apart=apart))

    def segments(self, *, apart: bool) -> Segments:
        """On this machine's disk, or where all machines can reach them."""
        if not apart:
            return FolderSegments(self.scratch.segments, self.scratch.temporary)
        temporary = self.temporary(apart=True)
        return BucketSegments(self.store, self._segments, temporary, Room())

    def made(self, *, apart: bool) -> MadeFiles:
        """The same."""
        scratch, store = self.scratch, self.store
        if not apart:
            return FolderMade(store=store, folder=scratch.segments, temporary=scratch.temporary)
        temporary = self.temporary(apart=True)
        return BucketMade(store=store, prefix=self._segments, temporary=temporary)

    def records(self) -> Iterable[tuple[int, bytes]]:
        """What was recorded of chunks."""
        keys = [key for key in self._keys() if key.startswith(self._records)]
        contents = at_once(self.store.get, keys, AT_ONCE)
        names = [key.removeprefix(self._records).removesuffix(".json") for key in keys]
        return [(int(name), content) for name, content in zip(names, contents, strict=True)]

    def sync(self) -> None:
        """A bucket that has answered has it."""

    def remove(self) -> None:
        """Removes .job/: first what makes it count, last who is at it; then the scratch folder."""
        self._clear()
        self._claim = None
        self.scratch.remove("job")

    def _clear(self) -> None:
        keys = self._keys()
        if keys:
            self._delete([self._job_json])
            self._delete(key for key in keys if key != self._owner)
            self._delete([self._owner])

    def keep(self) -> None:
        """Gives the claim back, and removes the scratch folder."""
        mine, self._claim = self._claim, None
        if mine is not None:
            release(self.store, self._owner, mine)
        self._delete(info.key for info in self.store.list(self._segments))
        self.scratch.remove("job")

    def is_bare(self) -> bool:
        """No segment, here or there, and no record of a chunk; of shards others may be about to
        make some."""
        made = (self._records, self._segments)
        return not (
            self._shard is not None
            or any(self.scratch.segments.iterdir())
            or any(key.startswith(made) for key in self._keys())
        )

    def remove_left(self) -> None:
        """Of a finished job. That two do so at once, here and there, does no harm."""
        self._clear()
        root = _scratch_path(self._scratch_of)
        with storage_errors(root), suppress(FileNotFoundError):
            scratch = lock_folder(root)
            if scratch is not None:
                try:
                    scratch.remove("job")
                finally:
                    scratch.close()

    @contextmanager
    def left(self) -> Iterator[Iterable[tuple[int, bytes]] | None]:
        """The records. A job that begins meanwhile is not kept away; all that it makes is new."""
        keys = self._keys()
        if claims := self._claims(keys):
            raise busy(self.store, claims[0])
        yield self.records() if keys else None

    def _claims(self, keys: Iterable[str]) -> list[str]:
        """Those of keys that say that a run is at the job."""
        return [key for key in keys if key == self._whole or key.startswith(self._shards)]

    def _keys(self) -> list[str]:
        return [info.key for info in self.store.list(f"{self.name}/")]

    def _delete(self, keys: Iterable[str]) -> None:
        at_once(self.store.delete, keys, AT_ONCE)


def _scratch_path(place: str) -> Path:
    name = f"millstream-job-{os.getuid()}-{blake3(place.encode()).hexdigest(12)}"
    return Path(tempfile.gettempdir()) / name


def scratch_folder(place: str) -> Path:
    """The local folder for the jobs of a place, made if need be; for this user alone."""
    root = _scratch_path(place)
    with storage_errors(root):
        return own_folder(root)
