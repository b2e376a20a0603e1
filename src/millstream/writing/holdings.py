"""What an output folder holds already, and the refusals that say so."""

from __future__ import annotations

import json
from collections.abc import Iterable

from millstream.errors import OutputNotEmpty
from millstream.format import read_manifest
from millstream.format.keys import version_key
from millstream.store import LocalStore
from millstream.writing.identity import JobKey

JOB = ".job"
OURS = {JOB, "chunks", "versions", "latest", "runs"}


def is_finished(store: LocalStore) -> bool:
    """Whether a version of a dataset was published here."""
    return store.path(version_key(1)).exists()


def refuse_foreign(store: LocalStore, key: JobKey) -> None:
    """Raises OutputNotEmpty unless a folder is absent, empty, or holds a job of ours alone.

    Without a job, our own files are foreign too.
    """
    if store.root.exists() and not store.root.is_dir():
        raise OutputNotEmpty(f"{store} is a file; give a folder")
    names = {entry.name for entry in store.root.iterdir()} if store.root.exists() else set()
    refuse_others(store, key, names - OURS if JOB in names else names)


def refuse_others(store: LocalStore, key: JobKey, names: Iterable[str]) -> None:
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


def _finished(store: LocalStore, key: JobKey) -> str:
    rows = read_manifest(store.get(version_key(1))).rows
    text = f"{store} holds a finished dataset of {rows:,} samples"
    records = sorted(store.path("runs").glob("*.json"))
    if len(records) == 1:
        job = json.loads(records[0].read_text())["job"]
        changed = "; ".join(key.differences(job))
        text += f" by {job['function']['name']}. This call differs from its job in: {changed}"
    return f"{text}. Choose another output folder; this dataset was not changed"


def refuse_differing(store: LocalStore, changed: list[str]) -> None:
    """Raises OutputNotEmpty if an unfinished job differs in anything."""
    if changed:
        raise OutputNotEmpty(
            f"{store} holds an unfinished job that differs from this one in: {'; '.join(changed)}. "
            "Run that job to its end, choose another output folder, or remove this folder to give "
            "the job up"
        )
