"""The end of every job that makes a version: it is published, noted down, and tidied up after."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from millstream.format import Manifest
from millstream.store import Store
from millstream.versions import Version, newest_version
from millstream.writing.commit import Published, publish, publish_next
from millstream.writing.folder import SHARDS, JobFolder, job_place, remove_leftovers
from millstream.writing.holdings import has_job, job_folder, own_folder
from millstream.writing.identity import JobKey
from millstream.writing.record import finished_report, record_key, run_record
from millstream.writing.report import Report
from millstream.writing.segment import Skipped


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionJob:
    """A job at a place. seen: the newest version there when it began; began: by time.monotonic.

    workers: for the record; None if it is not known.
    """

    store: Store
    key: JobKey
    workers: int | None
    seen: Version | None
    began: float

    @staticmethod
    def begin(store: Store, key: JobKey, workers: int | None) -> VersionJob:
        """Looks at what is there. A first version is not to follow any."""
        seen = None if key.mode is None else newest_version(store)
        return VersionJob(store=store, key=key, workers=workers, seen=seen, began=time.monotonic())

    @property
    def appends_to(self) -> Version | None:
        """The version whose rows come first, as far as one knows; None if there are none."""
        return self.seen if self.key.mode == "append" else None

    def open(
        self,
        *,
        take_over: bool,
        notes: Callable[[], dict[str, Any]] = dict,
        apart: bool = False,
        shard: str | None = None,
    ) -> JobFolder:
        """The folder of the job, as a context manager. notes, apart: as of JobFolder.

        shard: its name, if it is run in shards. What these have begun goes on there without them.
        """
        name, own = job_folder(self.key), own_folder(self.key)
        if shard is not None or has_job(self.store, own):
            name = own
        place = job_place(self.store, name, take_over=take_over, shard=shard)
        return JobFolder(place, self.key, notes=notes, apart=apart)

    def finish(self, folder: JobFolder, made: Manifest, skipped: Sequence[Skipped] = ()) -> Report:
        """Publishes the chunks that `made` lists, which have to be in their places."""
        folder.sync()
        published = self._publish(folder.store, made)
        report = self._report(made, published, tuple(skipped))
        shards = folder.notes.get(SHARDS)
        record = run_record(self.key, report, published, self.workers, shards)
        folder.store.put(record_key(self.key), record)
        folder.remove()
        return report

    def _publish(self, store: Store, made: Manifest) -> Published:
        if self.key.mode is not None:
            return publish_next(store, made, self.key.mode, self.seen)
        return Published(manifest=made, first=0, is_new=publish(store, made))

    def _report(self, made: Manifest, published: Published, skipped: tuple[Skipped, ...]) -> Report:
        old = published.before if self.key.mode == "overwrite" else None
        return Report(
            place=str(self.store),
            samples=made.rows,
            bytes=made.nbytes,
            chunks=len(made.chunks),
            seconds=time.monotonic() - self.began,
            skipped=skipped,
            already_done=not published.is_new,
            version=published.manifest.version,
            total=published.manifest.rows,
            replaced=None if old is None else (old.version, old.rows, old.nbytes),
        )


def finished(store: Store, key: JobKey) -> Report | None:
    """The report of this same job, if an earlier run finished it; tidies up after that."""
    report = finished_report(store, key)
    if report is not None:
        remove_leftovers(store, key)
    return report
