"""What `runs/` keeps of a finished job: its report, where its chunks are, and who ran it when.

None of it belongs to the dataset, and two runs of one job need not write the same. Where the
chunks are says later whether the newest version still has them: then the same call has nothing to
do.
"""

from __future__ import annotations

import json
import platform
import time
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from blake3 import blake3

from millstream.format import Manifest
from millstream.format.keys import run_key
from millstream.store import ReadableStore
from millstream.versions import newest_version
from millstream.writing.commit import Published
from millstream.writing.identity import JobKey
from millstream.writing.report import Report
from millstream.writing.segment import Skipped

# Those that bytes may depend on.
LIBRARIES = ("millstream", "numpy", "pillow", "zstandard")


def record_key(key: JobKey) -> str:
    """The key of the record of a job."""
    return run_key(key.digest().hex())


def run_record(
    key: JobKey, report: Report, published: Published, workers: int | None, shards: int | None
) -> bytes:
    """The record, as JSON. shards: how many there were, if the job was run in these."""
    first, count = published.first, report.chunks
    record = {
        "job": key.summary(),
        "report": {k: v for k, v in asdict(report).items() if k != "already_done"},
        "chunks": {
            "first": first,
            "count": count,
            "digest": _digest(published.manifest, first, count),
        },
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "host": platform.node(),
        "workers": workers,
        "shards": shards,
        "python": platform.python_version(),
        "libraries": {name: _version(name) for name in LIBRARIES},
    }
    return (json.dumps(record, indent=2) + "\n").encode()


def finished_report(store: ReadableStore, key: JobKey) -> Report | None:
    """The report of a job that an earlier run finished, if the newest version has its rows.

    After an overwrite there must be no other rows; whatever was added to the others' does not
    matter.
    """
    try:
        record = json.loads(store.get(record_key(key)))
    except (FileNotFoundError, NotADirectoryError):
        return None
    newest = newest_version(store)
    if newest is None or not _holds(newest.manifest, key, record["chunks"]):
        return None
    report = record["report"]
    skipped = tuple(Skipped(**some) for some in report.pop("skipped"))
    return Report(**report, skipped=skipped, already_done=True)


def _holds(manifest: Manifest, key: JobKey, chunks: dict[str, Any]) -> bool:
    first, count = chunks["first"], chunks["count"]
    if key.mode == "overwrite" and len(manifest.chunks) != count:
        return False
    return bool(_digest(manifest, first, count) == chunks["digest"])


def _digest(manifest: Manifest, first: int, count: int) -> str:
    """Names so many chunks of a version from the first on; appends leave them where they are."""
    return blake3(manifest.chunks.digests[first : first + count].tobytes()).hexdigest(16)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
