"""commit(): the end of a job that was run in shards."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from millstream.encryption import Encryption
from millstream.errors import CannotDecrypt, UsageError
from millstream.store import Store, open_store, service_of
from millstream.writing.dataset_job import DatasetJob
from millstream.writing.fetch import InputFetcher
from millstream.writing.filtering import Filtering
from millstream.writing.finish import finished
from millstream.writing.folder import BORDERS, SHARDS, job_place
from millstream.writing.holdings import is_job
from millstream.writing.identity import JobKey
from millstream.writing.knobs import Prepared, check_work, executor_of
from millstream.writing.limits import limits_of
from millstream.writing.placed import read_object
from millstream.writing.report import Report, told
from millstream.writing.tasks import Task, tasks
from millstream.writing.urls import options_for


def commit(
    output_dir: str | os.PathLike[str],
    *,
    num_workers: int | None = None,
    encryption: Encryption | None = None,
    storage_options: Mapping[str, object] | None = None,
    job: str | None = None,
    take_over: bool = False,
    verbose: bool | None = None,
) -> Report:
    """Publishes what the shards of `optimize(..., shard=...)` have made in `output_dir`.

    Chunks that the shards could not build yet, for want of each other's rows, are built here. The
    dataset is the one that `optimize` would have made without shards, byte for byte. A commit that
    was stopped goes on when it is called again, and one that is done reports. What shards left is
    removed once it is published.

    Args:
        output_dir: The output of the shards.
        num_workers: Processes that build chunks; by default one a CPU; 0 does it in this process.
        encryption: That of the job, if it has one.
        storage_options: Of the bucket, see docs/stores.md.
        job: The job's digest or the start of it, where several are run in shards in one place.
        take_over: Goes on although shards are noted as being at it in a bucket, for when they are
            known to be gone.
        verbose: As of `optimize`.

    Returns:
        The report of the whole job.

    Raises:
        JobUnfinished: Inputs are not done yet; names the shards to be run.
        UsageError: There is no job in shards, or several.
        CannotDecrypt: It is encrypted, and not with this.
        OutputBusy: A shard is still at it.
        StorageError: Reading or writing failed.
    """
    check_work(num_workers, "raise")
    if not isinstance(job, str | None):
        raise UsageError(f"job is {job!r:.60}, expected the start of a digest, as text, or None")
    store = open_store(output_dir, storage_options if service_of(output_dir) else None)
    store.check_conditional_put()
    if (found := _choose(store, job)) is None:
        return told(_published(store, job), verbose)
    key = JobKey.noted(found["job"])
    count, settings = int(found["job"]["inputs"]["count"]), key.settings
    has_tokens = "item_loader" in settings
    filtering = _filtering(store, settings, encryption, has_tokens=has_tokens)
    return told(
        DatasetJob(
            prepared=Prepared(fn=_never, inputs=_Unknown(count), weights=None),
            store=store,
            fetcher=InputFetcher(options_for(None, None, [])),
            take_over=take_over,
            key=key,
            tasks=_tasks(count, found["notes"][BORDERS]),
            limits=limits_of(
                settings["chunk_bytes"], settings["chunk_size"], has_tokens=has_tokens
            ),
            filtering=filtering,
            executor=executor_of(num_workers, None, None, None),
            verbose=verbose,
            may_encode=False,
        ).run(),
        verbose,
    )


def _filtering(
    store: Store, settings: Mapping[str, Any], encryption: Encryption | None, *, has_tokens: bool
) -> Filtering:
    """That of the job; raises CannotDecrypt if it encrypts otherwise than `encryption` does."""
    found = Filtering.asked(settings.get("compression"), encryption, has_tokens=has_tokens)
    theirs, ours = settings.get("encryption"), found.settings().get("encryption")
    if theirs is None and ours is not None:
        raise CannotDecrypt(f"the job in {store} is not encrypted: leave encryption out")
    if theirs != ours:
        given = "" if ours is None else f", and encryption= is {ours}"
        raise CannotDecrypt(
            f"the job in {store} is encrypted ({theirs}){given}: pass its encryption, which is "
            "that of the shards"
        )
    return found


def _choose(store: Store, job: str | None) -> dict[str, Any] | None:
    """What the job in shards noted when it began; None if there is none."""
    found = {}
    for name in sorted(filter(is_job, job_place(store).names())):
        try:
            noted = read_object(store.get(f"{name}/job.json")) or {}
        except FileNotFoundError:  # it ends just now
            continue
        if SHARDS in noted.get("notes", {}):
            found[JobKey.noted(noted["job"]).digest().hex()] = noted
    chosen = [digest for digest in found if digest.startswith(job or "")]
    if len(chosen) < 2:
        return found[chosen[0]] if chosen else None
    listed = "; ".join(
        f"{digest[:16]} ({noted['job']['function']['name']}, "
        f"{noted['job']['inputs']['count']:,} inputs)"
        for digest, noted in found.items()
    )
    raise UsageError(f"{store} holds {len(found)} jobs that are run in shards: {listed}; pass job=")


def _published(store: Store, job: str | None) -> Report:
    """The report of a job that an earlier commit has published; tidies up after that."""
    names = [info.key for info in store.list("runs/") if info.key.endswith(".json")]
    records = [json.loads(store.get(name)) for name in names]
    keys = [JobKey.noted(record["job"]) for record in records if record.get(SHARDS)]
    chosen = [key for key in keys if key.digest().hex().startswith(job or "")]
    reports = [report for key in chosen if (report := finished(store, key)) is not None]
    if not reports:
        which = "" if job is None else f" of the digest {job}"
        raise UsageError(f"{store} holds no job{which} that is run in shards")
    return max(reports, key=lambda report: report.version)


def _tasks(inputs: int, borders: Sequence[int] | None) -> list[Task]:
    if borders is None:
        return list(tasks(inputs))
    spans = pairwise([*borders, inputs])
    return [Task(number, start, stop) for number, (start, stop) in enumerate(spans)]


class _Unknown(Sequence[Any]):
    """Inputs of which only the shards know what they are."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        return "which the shards know"


def _never(value: Any) -> Any:
    raise AssertionError("a commit encodes nothing")
