"""The job that optimize() is: what it does from its checked arguments to a published version."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from millstream.errors import SampleError, UsageError
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
from millstream.writing.folder import JobFolder
from millstream.writing.gather import Room
from millstream.writing.identity import JobKey
from millstream.writing.job import JobRun
from millstream.writing.knobs import Prepared
from millstream.writing.placed import ChunkRecord
from millstream.writing.progress import ProgressBar
from millstream.writing.report import Report
from millstream.writing.segment import Skipped
from millstream.writing.settling import THREADS
from millstream.writing.work import Work


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetJob:
    """The arguments of optimize(), checked."""

    prepared: Prepared
    store: Store
    fetcher: InputFetcher
    take_over: bool
    key: JobKey
    limits: Limits
    filtering: Filtering
    executor: Executor
    verbose: bool | None

    def finished(self) -> Report | None:
        """The report of an earlier run that finished it, with the same key."""
        report = finished(self.store, self.key)
        if report is not None:
            self.filtering.check_version(self.store, load_version(self.store))
        return report

    def run(self) -> Report:
        """Does what is missing, publishes, and tidies up."""
        job = VersionJob.begin(self.store, self.key, self.executor.workers)
        # Before any work: the first samples may take hours.
        if old := job.appends_to:
            if error := mixed(self.store, old, has_tokens=self._has_tokens):
                raise error
            self.filtering.check_version(self.store, old)
        apart = self.executor.apart
        notes = self.filtering.notes
        with job.open(take_over=self.take_over, notes=notes, apart=apart) as folder:
            schema, chunks, skipped = self._work(folder, job.appends_to)
            if schema is None:
                folder.remove()
                count = len(self.prepared.inputs)
                raise UsageError(
                    f"none of the {count:,} inputs gave a sample: fn returned None, or an iterator "
                    "without items, for each; there is nothing to write"
                )
            made = build_manifest(schema, chunks, shaping(self.key.settings))
            return job.finish(folder, made, skipped)

    def _work(
        self, folder: JobFolder, old: Version | None
    ) -> tuple[Schema | None, list[ChunkRecord], tuple[Skipped, ...]]:
        """Does what is missing: the schema (None without rows), the chunks, what was skipped."""
        packing, sealing = self.filtering.packing, self.filtering.sealing(folder.notes)
        work = Work(
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
        recorded = folder.placed()
        # In a chunk that is encrypted it cannot be seen, and there it need not be the same.
        known = known_dictionary(self.store, packing, recorded if sealing is None else {})
        digest = self.key.digest()
        with ProgressBar(len(self.prepared.inputs), show=self.verbose) as bar:
            run = JobRun(
                folder,
                self.prepared.inputs,
                self.limits,
                weights=self.prepared.weights,
                digest=digest,
                recorded=recorded,
                progress=bar,
                unlike=partial(self._unlike, old),
                threads=THREADS if self.executor.workers != 0 else 0,
                cipher=None if sealing is None else sealing.segments,
                dictionary=DictionaryTurn(packing, known),
            )
            schema, chunks = run.run(self.executor, work)
        return schema, chunks, run.skipped()

    @property
    def _has_tokens(self) -> bool:
        return "item_loader" in self.key.settings

    def _unlike(self, old: Version | None, schema: Schema) -> SampleError | None:
        if old is None:
            return None
        return unlike(self.store, old, schema, has_tokens=self._has_tokens)
