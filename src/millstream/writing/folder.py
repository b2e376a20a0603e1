"""An unfinished job beside its output, and what an output may hold.

    .job/job.json            the key of the job; without it nothing else here counts
    .job/inputs              digests of the inputs, to name those that change
    .job/chunks/000003.json  chunk 3 is in its place

A job that makes a further version has the folder .job-DIGEST, and runs beside others of its kind.

That is what outlives a kill, wherever the output lies. A job in a folder works there too (see
local_job.py), a job in a bucket on the local disk (see bucket_job.py).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, Protocol

from millstream.errors import (
    ClusterUnavailable,
    CorruptData,
    NotPicklable,
    OutputBusy,
    OutputNotEmpty,
    StorageError,
    UnsupportedError,
)
from millstream.store import ListingStore, LocalStore, Store
from millstream.store.local import storage_errors
from millstream.writing.bucket_job import BucketJob
from millstream.writing.holdings import (
    JOB,
    is_job,
    job_folder,
    makes_first,
    own_folder,
    refuse_differing,
    refuse_foreign,
    refuse_unrelated,
)
from millstream.writing.identity import JobKey, Noted
from millstream.writing.local_job import LocalJob
from millstream.writing.made import MadeFiles
from millstream.writing.placed import ChunkPlace, Placed, read_placed, sizes_there
from millstream.writing.scratch import Scratch
from millstream.writing.segments import Segments
from millstream.writing.temporary import Temporary

# Errors of a job that may not have begun to work: what is mended then may be its function. If it
# has not, nothing of it is kept, so the mended call is not refused as another job.
NEVER_BEGUN = (ClusterUnavailable, NotPicklable, UnsupportedError)


class JobPlace(Protocol):
    """What a job needs of the place where its output lies; one run has it at a time."""

    @property
    def store(self) -> Store:
        """The output."""

    @property
    def name(self) -> str:
        """Of the folder in the output that is the job's own."""

    @property
    def scratch(self) -> Scratch:
        """Where the run works, once it has entered."""

    @property
    def waiting_bytes(self) -> int:
        """About how many bytes may wait here, of segments, for slower tasks before them."""

    def temporary(self, *, apart: bool) -> Temporary:
        """Where workers have files meanwhile. apart: whether they are on several machines."""

    def segments(self, *, apart: bool) -> Segments:
        """Where they leave what they have made, until it is in chunks."""

    def made(self, *, apart: bool) -> MadeFiles:
        """Where those of a map do, until it has its name."""

    def names(self) -> set[str]:
        """The files and folders that the output holds."""

    def enter(self) -> None:
        """Keeps other runs away; raises OutputBusy if there is one."""

    def leave(self, error: BaseException | None) -> None:
        """Lets other runs in. error: what ended this one, None if it finished."""

    def found(self) -> tuple[bytes, bytes] | None:
        """job.json and inputs of an unfinished job; None if there is none."""

    def stopped(self, name: str) -> tuple[bytes, bytes] | None:
        """The same of another job, by the name of its folder; None too if a run is at it."""

    def begin(self, job: bytes, inputs: bytes) -> None:
        """Writes down a new job, after removing what counted no more."""

    def chunks(self, *, apart: bool) -> ChunkPlace:
        """Where they put these."""

    def records(self) -> Iterable[tuple[int, bytes]]:
        """What was recorded of chunks, by sequence."""

    def sync(self) -> None:
        """Waits until all chunks outlive a power cut."""

    def remove(self) -> None:
        """Removes all traces of the job but its dataset."""

    def remove_left(self) -> None:
        """The same for a finished job, by who has not entered; not while a run is at it."""

    def keep(self) -> None:
        """Removes what the run worked with, and keeps what it has noted."""

    def is_bare(self) -> bool:
        """Whether nothing has been made of the job yet."""

    def left(self) -> AbstractContextManager[Iterable[tuple[int, bytes]] | None]:
        """The records of an unfinished job, None if there is none, while no run can enter."""


def job_place(
    store: Store, name: str = JOB, *, take_over: bool = False, shard: str | None = None
) -> JobPlace:
    """The place of a job in an output. name: of its folder there. take_over: see `optimize`.

    shard: of one that is run in shards; its name is part of a key.
    """
    if isinstance(store, LocalStore):
        return LocalJob(store, name, shared=shard is not None)
    return BucketJob(store, name, take_over=take_over, shard=shard)


# Raises OutputNotEmpty for what a place holds that is in the way of a job, by its names.
Refuse = Callable[[ListingStore, JobKey, set[str]], None]


# What a job that is run in shards notes: how many there are, and where its tasks begin if that does
# not follow from the number of inputs.
SHARDS, BORDERS = "shards", "borders"


class JobFolder:
    """Opens, or goes on with, the job of a key at a place; a context manager.

    refuse: by default what is right for a job that makes a dataset, or a further version of one.
    notes: what a job that begins writes down, as JSON values; `self.notes` is what this one has.
    apart: whether its workers are on several machines; what shards make is always for all to see.

    Raises OutputNotEmpty if the output holds something else, OutputBusy if another process runs a
    job there.
    """

    def __init__(
        self,
        place: JobPlace,
        key: JobKey,
        refuse: Refuse | None = None,
        notes: Callable[[], dict[str, Any]] = dict,
        *,
        apart: bool = False,
    ) -> None:
        self._place = place
        self._refuse = refuse or (refuse_foreign if key.mode is None else refuse_unrelated)
        self._refuse(place.store, key, place.names())
        place.enter()
        try:
            with storage_errors(place.scratch.root):
                if (found := place.found()) is None:
                    self._begin(key, notes)
                    # Of shards that begin together another one may have made it.
                    found = place.found()
                if found is None:
                    raise StorageError(f"{place.store}/{place.name} was removed; run it again")
                self.notes: dict[str, Any] = json.loads(found[0]).get("notes", {})
                _compare(place.store, key, *found)
                place.scratch.prepare()
        except BaseException as error:
            place.leave(error)
            raise
        apart = apart or SHARDS in self.notes
        self.store, self.scratch = place.store, place.scratch
        self.chunks, self.segments = place.chunks(apart=apart), place.segments(apart=apart)
        self.made = place.made(apart=apart)
        self.temporary, self.waiting_bytes = place.temporary(apart=apart), place.waiting_bytes

    def _begin(self, key: JobKey, notes: Callable[[], dict[str, Any]]) -> None:
        names = self._place.names() - {self._place.name}
        # What the first version has left there is in nobody's way once that is published.
        others = names if key.mode is None else names - {JOB}
        try:
            self._refuse(self._place.store, key, names)
            self._refuse_jobs(key, sorted(filter(is_job, others)))
        except (OutputNotEmpty, OutputBusy):
            if self._place.found() is None:  # or else another shard has begun it by now
                self._place.remove()
            raise
        inputs = b"" if isinstance(key.inputs, Noted) else key.inputs.to_bytes()
        self._place.begin(key.to_json(notes()), inputs)

    def _refuse_jobs(self, key: JobKey, names: list[str]) -> None:
        """A job that nobody is at any more is not left to be forgotten.

        Further versions may be made side by side; of a first one there is one job at a time.
        """
        store = self._place.store
        for name in names:
            if (found := self._place.stopped(name)) is not None:
                _compare(store, key, *found, folder=name)
                if name == JOB:
                    raise OutputNotEmpty(
                        f"{store} holds this same job, unfinished and begun without shards: run it "
                        f"to its end without them, or remove {store}/{JOB} to give it up"
                    )
            elif key.mode is None or makes_first(store, name):
                raise OutputBusy(
                    f"{store}: another job is writing a dataset here, in {name}; wait for it, or "
                    f"choose another output; if you know that it is gone, remove {store}/{name}"
                )

    def __enter__(self) -> JobFolder:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.scratch.clear_temporary()
        try:
            if isinstance(error, NEVER_BEGUN) and self._place.is_bare():
                self._place.remove()
        finally:
            self._place.leave(error)

    def placed(self) -> dict[int, Placed]:
        """The chunks that are in their places, by sequence."""
        found = {sequence: read_placed(content) for sequence, content in self._place.records()}
        sizes = sizes_there(self.store) if found else {}
        return {
            sequence: placed
            for sequence, placed in found.items()
            if placed and sizes.get(placed.chunk.digest) == placed.chunk.size
        }

    def records(self) -> Iterable[tuple[int, bytes]]:
        """What was noted by number, as it is."""
        return self._place.records()

    def keep(self) -> None:
        """Leaves what is noted, for the same call; removes the rest."""
        with storage_errors(self.scratch.root):
            self._place.keep()

    def sync(self) -> None:
        """Waits until all chunks outlive a power cut."""
        self._place.sync()

    def remove(self) -> None:
        """Removes the folder of a job that is done."""
        with storage_errors(self.scratch.root):
            self._place.remove()


def _compare(store: Store, key: JobKey, job: bytes, inputs: bytes, folder: str = JOB) -> None:
    recorded = json.loads(job)
    changed = key.differences(recorded["job"], recorded["function"], inputs)
    refuse_differing(store, changed, folder)


def remove_leftovers(store: Store, key: JobKey) -> None:
    """Removes what a finished job left behind, unless a process is still at it."""
    for name in {job_folder(key), own_folder(key)}:
        job_place(store, name).remove_left()


@contextmanager
def unfinished(store: Store) -> Iterator[frozenset[str] | None]:
    """Keeps jobs away while others than jobs change a dataset; gives what one has left here.

    That is the digests of the chunks that unfinished jobs have recorded; None if there is no
    such job. Raises OutputBusy if one is running.
    """
    with ExitStack() as stack:
        digests: set[str] = set()
        found = False
        for name in sorted({JOB, *filter(is_job, job_place(store).names())}):
            records = stack.enter_context(job_place(store, name).left())
            if records is not None:
                found = True
                digests.update(_recorded(f"{store}/{name}", *record) for record in records)
        yield frozenset(digests) if found else None


def _recorded(place: str, sequence: int, content: bytes) -> str:
    placed = read_placed(content)
    if placed is None:
        raise CorruptData(
            f"{place}/chunks/{sequence:06}.json is not the record of a chunk; run the job to its "
            f"end, or remove {place} to give it up"
        )
    return placed.chunk.digest
