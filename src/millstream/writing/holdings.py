"""What an output folder holds already, and the refusals that say so."""

from __future__ import annotations

import json
from collections.abc import Iterable

from millstream.errors import OutputNotEmpty
from millstream.format import read_manifest
from millstream.format.keys import version_key
from millstream.store import ListingStore, ReadableStore
from millstream.writing.identity import JobKey

JOB = ".job"
OURS = {JOB, "chunks", "versions", "latest", "runs"}


def is_finished(store: ReadableStore) -> bool:
    """Whether a version of a dataset was published here."""
    try:
        store.size(version_key(1))
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def refuse_foreign(store: ListingStore, key: JobKey, names: set[str]) -> None:
    """Raises OutputNotEmpty unless a place is empty, or holds a job of ours alone.

    names: of the files and folders in it. Without a job, our own files are foreign too.
    """
    refuse_others(store, key, names - OURS if JOB in names else names)


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
    rows = read_manifest(store.get(version_key(1))).rows
    text = f"{store} holds a finished dataset of {rows:,} samples"
    records = [info.key for info in store.list("runs/") if info.key.endswith(".json")]
    if len(records) == 1:
        job = json.loads(store.get(records[0]))["job"]
        changed = "; ".join(key.differences(job))
        text += f" by {job['function']['name']}. This call differs from its job in: {changed}"
    return f"{text}. Choose another output folder; this dataset was not changed"


def refuse_differing(store: ListingStore, changed: list[str]) -> None:
    """Raises OutputNotEmpty if an unfinished job differs in anything."""
    if changed:
        raise OutputNotEmpty(
            f"{store} holds an unfinished job that differs from this one in: {'; '.join(changed)}. "
            "Run that job to its end, choose another output folder, or remove this folder to give "
            "the job up"
        )
