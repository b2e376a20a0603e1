"""Chunks -> a version: the manifest, and the one step that makes it visible."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from millstream.errors import OutputNotEmpty
from millstream.format import ChunkTable, Manifest, Schema
from millstream.store import LocalStore
from millstream.writing.work import ChunkRecord


def build_manifest(
    schema: Schema, chunks: Sequence[ChunkRecord], settings: dict[str, Any]
) -> Manifest:
    """The first version of a dataset of these chunks, in this order."""
    shapes = [{chunk.shapes[f] for chunk in chunks} for f in range(len(schema.fields))]
    fields = tuple(
        replace(field, shape=next(iter(found)) if len(found) == 1 else None)
        for field, found in zip(schema.fields, shapes, strict=True)
    )
    digests = b"".join(bytes.fromhex(chunk.digest) for chunk in chunks)
    table = ChunkTable(
        rows=np.array([chunk.rows for chunk in chunks], np.uint32),
        lead=np.array([chunk.lead for chunk in chunks], np.uint32),
        sizes=np.array([chunk.size for chunk in chunks], np.uint64),
        digests=np.frombuffer(digests, np.uint8).reshape(len(chunks), 32),
    )
    return Manifest(
        version=1, schema=Schema(tree=schema.tree, fields=fields), chunks=table, settings=settings
    )


def version_key(version: int) -> str:
    """The key of a version's manifest."""
    return f"versions/{version:012}"


def publish(store: LocalStore, manifest: Manifest) -> bool:
    """Makes a version visible, once; False if an earlier run of the same job had done so.

    Whoever sees the version finds its chunks, even after a power cut: their names are on the disk
    before its own. Raises OutputNotEmpty if another writer was first.
    """
    content, key = manifest.to_bytes(), version_key(manifest.version)
    store.sync_names("chunks")
    is_new = store.put_if_absent(key, content)
    if not is_new and store.get(key) != content:
        raise OutputNotEmpty(
            f"{store}: another writer published version {manifest.version} first; nothing of it "
            "was changed"
        )
    store.put(f"{key}.json", (json.dumps(manifest.summary(), indent=2) + "\n").encode())
    store.put("latest", b"%d\n" % manifest.version)
    return is_new
