"""The keys under which a dataset's objects lie, as docs/format.md lists them."""

from __future__ import annotations

import re

_VERSION = re.compile(r"versions/([0-9]{12})")
_CHUNK = re.compile(r"chunks/([0-9a-f]{64})")
LATEST = "latest"
CHUNKS = "chunks/"


def version_key(version: int) -> str:
    """The key of a version's manifest."""
    return f"versions/{version:012}"


def version_of(key: str) -> int | None:
    """The inverse of `version_key`; None for other keys."""
    match = _VERSION.fullmatch(key)
    return int(match[1]) if match else None


def chunk_key(name: str) -> str:
    """The key of a chunk, from its digest in hex."""
    return f"{CHUNKS}{name}"


def chunk_of(key: str) -> str | None:
    """The inverse of `chunk_key`; None for other keys."""
    match = _CHUNK.fullmatch(key)
    return match[1] if match else None


def run_key(job: str) -> str:
    """The key of the record of a job's run, from the job's digest in hex."""
    return f"runs/{job}.json"
