"""What an output folder holds already, and the refusals that say so."""

from __future__ import annotations

import json
from collections.abc import Iterable

from millstream.errors import OutputNotEmpty
from millstream.format.keys import version_key
from millstream.store import ListingStore, ReadableStore
from millstream.versions import newest_version
from millstream.writing.identity import JobKey
from millstream.writing.placed import read_object

# The folder of the job that makes a dataset. Those that make a further version of one have their
# own each, and may run side by side.
JOB = ".job"
OURS = {JOB, "chunks", "versions", "latest", "runs"}


def job_folder(key: JobKey) -> str:
    """The name of a job's folder in its output."""
    return JOB if key.mode is None else own_folder(key)


def own_folder(key: JobKey) -> str:
    """The same of one that may run beside others, or in shards: nobody else's has this name."""
    return f"{JOB}-{key.digest().hex()[:16]}"


def is_job(name: str) -> bool:
    """Whether a folder of this name is that of a job."""
    return name == JOB or name.startswith(f"{JOB}-")


def is_finished(store: ReadableStore) -> bool:
    """Whether a version of a dataset was published here."""
    return has_object(store, version_key(1))


def has_job(store: ReadableStore, name: str) -> bool:
    """Whether the folder of this name holds a job; it may be there without."""
    return has_object(store, f"{name}/job.json")


def has_object(store: ReadableStore, key: str) -> bool:
    """Whether there is one under this key."""
    try:
        store.size(key)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def makes_first(store: ListingStore, name: str) -> bool:
    """Whether the job in a folder is to make the first version, and has not done so."""
    if is_finished(store):
        return False
    try:
        noted = read_object(store.get(f"{name}/job.json"))
    except FileNotFoundError:
        return False
    return noted is not None and JobKey.noted(noted["job"]).mode is None


def refuse_foreign(store: ListingStore, key: JobKey, names: set[str]) -> None:
    """Raises OutputNotEmpty unless a place is empty, or holds a job of ours alone.

    names: of the files and folders in it. Without a job, our own files are foreign too.
    """
    own, jobs = {JOB, own_folder(key)}, set(filter(is_job, names))
    if not names.isdisjoint(own) or (jobs and not is_finished(store)):
        names = names - OURS - jobs
    refuse_others(store, key, names)


def refuse_unrelated(store: ListingStore, key: JobKey, names: set[str]) -> None:
    """Raises OutputNotEmpty unless a further version may be made at a place that holds `names`.

    That is one with a dataset, whatever else is there; or, for the first version, one that is
    empty but for jobs that would do the same.
    """
    if is_finished(store):
        return
    if JOB in names:
        raise OutputNotEmpty(
            f"{store} holds the unfinished job of its first version: run that one to its end, or "
            f"remove {store}/{JOB} to give it up"
        )
    jobs = {name for name in names if is_job(name)}
    refuse_others(store, key, names - jobs - (OURS if jobs else set()))


def refuse_dataset(store: ListingStore, key: JobKey, names: set[str]) -> None:
    """Raises OutputNotEmpty if files of other kinds would be written into a dataset."""
    if is_finished(store):
        raise OutputNotEmpty(
            f"{store} holds a dataset, and map would put files of fn into it; choose another output"
        )


def refuse_others(store: ListingStore, key: JobKey, names: Iterable[str]) -> None:
    """Raises OutputNotEmpty if there are any names."""
    if not names:
        return
    if is_finished(store):
        raise OutputNotEmpty(_finished(store, key))
    shown = sorted(names)
    listed = ", ".join(shown[:5]) + (", ..." if len(shown) > 5 else "")
    raise OutputNotEmpty(
        f"{store} is not empty: it holds {listed}. Choose an empty folder; nothing was changed"
    )


def _finished(store: ListingStore, key: JobKey) -> str:
    newest = newest_version(store)
    rows = 0 if newest is None else newest.manifest.rows
    text = f"{store} holds a finished dataset of {rows:,} samples"
    records = [info.key for info in store.list("runs/") if info.key.endswith(".json")]
    if len(records) == 1:
        job = json.loads(store.get(records[0]))["job"]
        changed = "; ".join(key.differences(job))
        text += f" by {job['function']['name']}"
        if not changed:
            return f"{text}, which this same call has just finished elsewhere; it was not changed"
        text += f". This call differs from its job in: {changed}"
    return (
        f'{text}. Choose another output folder, or pass mode="append" or mode="overwrite"; this '
        "dataset was not changed"
    )


def refuse_differing(store: ListingStore, changed: list[str], folder: str = JOB) -> None:
    """Raises OutputNotEmpty if the unfinished job in a folder differs in anything."""
    if changed:
        given_up = "this folder" if folder == JOB else f"{store}/{folder}"
        raise OutputNotEmpty(
            f"{store} holds an unfinished job that differs from this one in: {'; '.join(changed)}. "
            f"Run that job to its end, choose another output folder, or remove {given_up} to give "
            "the job up"
        )
