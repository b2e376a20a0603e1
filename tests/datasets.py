"""Small datasets for tests, their further versions, and damage done to them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import millstream as ms
from millstream.format import ChunkTable, Manifest
from millstream.format.keys import version_key
from millstream.store import LocalStore
from millstream.versions import load_version
from millstream.writing.commit import publish


def make(i: int) -> dict[str, Any]:
    """Columns, a group of several blobs, and an array that is a group of its own."""
    return {
        "id": i,
        "name": f"name {i}",
        "note": "x" * (i % 7),
        "ragged": np.arange(i % 3),
        "vector": np.full(5, i, np.float32),
    }


def write(
    folder: Path, rows: int = 60, fn: Callable[[int], Any] = make, **options: Any
) -> LocalStore:
    """A dataset of rows 0 to rows - 1, in chunks of 20."""
    options = {"chunk_size": 20, **options}
    ms.optimize(fn, range(rows), folder, num_workers=0, verbose=False, **options)
    return LocalStore(folder)


def add_version(store: LocalStore, other: Path | None = None, first: int = 0) -> Manifest:
    """A further version: the newest one's chunks from `first` on, and then those of `other`."""
    newest = load_version(store)
    tables = [_part(newest.manifest.chunks, first)]
    if other is not None:
        shutil.copytree(other / "chunks", store.root / "chunks", dirs_exist_ok=True)
        tables.append(load_version(LocalStore(other)).manifest.chunks)
    manifest = replace(
        newest.manifest,
        version=newest.manifest.version + 1,
        parent=newest.digest,
        chunks=ChunkTable(
            rows=np.concatenate([t.rows for t in tables]),
            lead=np.concatenate([t.lead for t in tables]),
            sizes=np.concatenate([t.sizes for t in tables]),
            digests=np.concatenate([t.digests for t in tables]),
        ),
    )
    publish(store, manifest)
    return manifest


def _part(table: ChunkTable, first: int) -> ChunkTable:
    return ChunkTable(
        rows=table.rows[first:],
        lead=table.lead[first:],
        sizes=table.sizes[first:],
        digests=table.digests[first:],
    )


def flip(path: Path, offset: int) -> None:
    """Changes one byte of a file."""
    content = bytearray(path.read_bytes())
    content[offset] ^= 0x01
    path.write_bytes(content)


def grow_older(store: LocalStore, key: str, seconds: float) -> None:
    """Sets back the time at which an object was made."""
    state = store.path(key).stat()
    os.utime(store.path(key), (state.st_atime, state.st_mtime - seconds))


def chunk_files(store: LocalStore, version: int | None = None) -> list[Path]:
    """The files of a version's chunks, in order."""
    chunks = load_version(store, version).manifest.chunks
    return [store.path(f"chunks/{chunks.name(number)}") for number in range(len(chunks))]


def manifest_file(store: LocalStore, version: int = 1) -> Path:
    """The file of a version's manifest."""
    return store.path(version_key(version))


def everything(folder: Path) -> dict[str, bytes]:
    """All files below a folder and what they hold."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
