"""The job that optimize() is: what it does from its checked arguments to a published version."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from millstream.errors import JobUnfinished, SampleError, UsageError
from millstream.execution.protocol import Executor
from millstream.format import Schema
from millstream.store import Store
from millstream.versions import Version, load_version
from millstream.writing.commit import build_manifest, mixed, shaping, unlike
from millstream.writing.cuts import Limits
from millstream.writing.dictionary import DictionaryTurn, known_dictionary
from millstream.writing.fetch import InputFetcher
from millstream.writing.filtering import Filtering
from millstream.writing.finish import VersionJob, finished
from millstream.writing.folder import BORDERS, SHARDS, JobFolder
from millstream.writing.gather import Room
from millstream.writing.identity import JobKey
from millstream.writing.job import JobRun
from millstream.writing.knobs import Prepared
from millstream.writing.placed import ChunkRecord, Placed, unbroken
from millstream.writing.progress import ProgressBar
from millstream.writing.report import Report
from millstream.writing.sealing import JobSealing
from millstream.writing.segment import Skipped
from millstream.writing.settling import THREADS
from millstream.writing.shards import EncodeRun, Share
from millstream.writing.tasks import Task
from millstream.writing.work import Work


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetJob:
    """The arguments of optimize(), checked.

    share: if only this is to be done. may_encode: or else shards have to have done all of that.
    """

    prepared: Prepared
    store: Store
    fetcher: InputFetcher
    take_over: bool
    key: JobKey
    tasks: Sequence[Task]
    limits: Limits
    filtering: Filtering
    executor: Executor
    verbose: bool | None
    share: Share | None = None
    may_encode: bool = True

    def finished(self) -> Report | None:
        """The report of an earlier run that finished it, with the same key."""
        report = finished(self.store, self.key)
        if report is not None:
            self.filtering.check_version(self.store, load_version(self.store))
        return report

    def run(self) -> Report:
        """Does what is missing, publishes, and tidies up; of a share no more than that."""
        job = VersionJob.begin(self.store, self.key, self.executor.workers)
        # Before any work: the first samples may take hours.
        if old := job.appends_to:
            if error := mixed(self.store, old, has_tokens=self._has_tokens):
                raise error
            self.filtering.check_version(self.store, old)
        with self._open(job) as folder:
            if self.share is not None:
                return self._shard(folder, self.share, job)
            schema, chunks, skipped = self._chunks(folder, job.appends_to)
            if schema is None:
                folder.remove()
                count = len(self.prepared.inputs)
                raise UsageError(
                    f"none of the {count:,} inputs gave a sample: fn returned None, or an iterator "
                    "without items, for each; there is nothing to write"
                )
            made = build_manifest(schema, chunks, shaping(self.key.settings))
            return job.finish(folder, made, skipped)

    def _open(self, job: VersionJob) -> JobFolder:
        if self.share is not None:
            self._check_can_share()
        return job.open(
            take_over=self.take_over,
            notes=self._notes,
            apart=self.executor.apart,
            shard=None if self.share is None else f"{self.share.index}-{self.share.count}",
        )

    def _check_can_share(self) -> None:
        """Before anything is written down: a job that cannot go on is in the way of the next."""
        sealing = self.filtering.sealing(self.filtering.notes())
        if sealing is not None and not sealing.is_kept:
            raise UsageError(
                "with the public key alone shards cannot read what the others have made: encrypt "
                "with a password, or with the private key"
            )

    def _notes(self) -> dict[str, Any]:
        """What a job that begins writes down."""
        notes = self.filtering.notes()
        if self.share is not None:
            borders = [task.start for task in self.tasks] if self.prepared.weights else None
            notes |= {SHARDS: self.share.count, BORDERS: borders}
        return notes

    def _shard(self, folder: JobFolder, share: Share, job: VersionJob) -> Report:
        """Encodes a share of the tasks, then builds that of the chunks which are known by now."""
        if (noted := folder.notes.get(SHARDS)) != share.count:
            how = f"is run in {noted} shards" if noted else "was begun without shards"
            raise UsageError(
                f"shard is {str(share)!r}, and the unfinished job in {self.store} {how}: run it to "
                "its end like that"
            )
        sealing = self.filtering.sealing(folder.notes)
        tasks = [task for task in self.tasks if share.has(task.number)]
        with ProgressBar(sum(task.stop - task.start for task in tasks), show=self.verbose) as bar:
            run = EncodeRun(
                folder.segments,
                self.prepared.inputs,
                tasks,
                cipher=None if sealing is None else sealing.segments,
                progress=bar,
            )
            encoded = run.run(self.executor, self._work(folder, sealing))
        _, chunks, _ = self._chunks(folder, job.appends_to)
        return Report(
            place=str(self.store),
            samples=encoded.samples,
            bytes=encoded.nbytes,
            chunks=len(chunks),
            seconds=time.monotonic() - job.began,
            skipped=encoded.skipped,
            already_done=not encoded.ran,
            version=0,
            shard=str(share),
        )

    def _chunks(
        self, folder: JobFolder, old: Version | None
    ) -> tuple[Schema | None, list[ChunkRecord], tuple[Skipped, ...]]:
        """Does what is missing: the schema (None without rows), the chunks, what was skipped."""
        packing, sealing = self.filtering.packing, self.filtering.sealing(folder.notes)
        recorded = folder.placed()
        if not self.may_encode:
            self._check_there(folder, recorded)
        # In a chunk that is encrypted it cannot be seen, and there it need not be the same.
        known = known_dictionary(self.store, packing, recorded if sealing is None else {})
        show = False if self.share is not None else self.verbose
        with ProgressBar(len(self.prepared.inputs), show=show) as bar:
            run = JobRun(
                folder,
                self.prepared.inputs,
                self.tasks,
                self.limits,
                digest=self.key.digest(),
                recorded=recorded,
                progress=bar,
                unlike=partial(self._unlike, old),
                threads=THREADS if self.executor.workers != 0 else 0,
                cipher=None if sealing is None else sealing.segments,
                dictionary=DictionaryTurn(packing, known),
                share=self.share,
                may_encode=self.may_encode,
            )
            schema, chunks = run.run(self.executor, self._work(folder, sealing))
        return schema, chunks, run.skipped()

    def _work(self, folder: JobFolder, sealing: JobSealing | None) -> Work:
        packing = self.filtering.packing
        return Work(
            fn=self.prepared.fn,
            chunks=folder.chunks,
            segments=folder.segments,
            fetcher=self.fetcher,
            temporary=folder.temporary,
            skip_errors=self.key.settings["on_error"] == "skip",
            allow_pickle=self.key.settings["allow_pickle"],
            serializers=self.prepared.serializers,
            tokens=self.limits if self._has_tokens else None,
            batched=self.key.settings["batched"],
            room=Room(),
            packing=packing if sealing is None else sealing.packing(packing),
            sealing=sealing,
        )

    def _check_there(self, folder: JobFolder, recorded: Mapping[int, Placed]) -> None:
        """Raises JobUnfinished unless shards have encoded all that is not in chunks."""
        there, at = folder.segments.there(), 0
        for placed in unbroken(recorded):
            at = placed.stop[0]
        absent = [task for task in self.tasks[at:] if task.number not in there]
        if absent:
            count = folder.notes[SHARDS]
            shards = sorted({task.number % count for task in absent})
            named = ", ".join(f"{shard}/{count}" for shard in shards[:8])
            more = f" and {len(shards) - 8} more" if len(shards) > 8 else ""
            inputs = sum(task.stop - task.start for task in absent)
            raise JobUnfinished(
                f"{self.store}: {inputs:,} inputs are not done: run shard {named}{more}, and then "
                "commit again"
            )

    @property
    def _has_tokens(self) -> bool:
        return "item_loader" in self.key.settings

    def _unlike(self, old: Version | None, schema: Schema) -> SampleError | None:
        if old is None:
            return None
        return unlike(self.store, old, schema, has_tokens=self._has_tokens)
