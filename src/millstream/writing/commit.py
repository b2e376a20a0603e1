"""Chunks -> a version: the manifest, and the one step that makes it visible."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from millstream.errors import OutputNotEmpty
from millstream.format import ChunkTable, Manifest, Schema, Tombstone
from millstream.format.keys import LATEST, version_key
from millstream.store import WritableStore
from millstream.writing.placed import ChunkRecord


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
    tokens = [chunk.tokens for chunk in chunks if chunk.tokens is not None]
    table = ChunkTable(
        rows=np.array([chunk.rows for chunk in chunks], np.uint32),
        lead=np.array([chunk.lead for chunk in chunks], np.uint32),
        sizes=np.array([chunk.size for chunk in chunks], np.uint64),
        digests=np.frombuffer(digests, np.uint8).reshape(len(chunks), 32),
        tokens=np.array(tokens, np.uint64) if tokens else None,
    )
    return Manifest(
        version=1, schema=Schema(tree=schema.tree, fields=fields), chunks=table, settings=settings
    )


def shaping(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those settings of a job that shaped its chunks: the ones that a manifest keeps."""
    kept = ("chunk_bytes", "chunk_size", "item_loader")
    return {key: settings[key] for key in kept if key in settings}


def companions(manifest: Manifest) -> dict[str, bytes]:
    """The objects, by key, that go with the newest version: for people, and the hint."""
    beside = version_summary(manifest)
    return {**beside, LATEST: b"%d\n" % manifest.version}


def version_summary(version: Manifest | Tombstone) -> dict[str, bytes]:
    """The JSON beside a version, for people, by its key."""
    text = json.dumps(version.summary(), indent=2) + "\n"
    return {f"{version_key(version.version)}.json": text.encode()}


def publish(store: WritableStore, manifest: Manifest) -> bool:
    """Makes a version visible, once; False if an earlier run of the same job had done so.

    Its chunks have to be in their places, where they outlive a power cut: whoever sees the version
    finds them. Raises OutputNotEmpty if another writer was first.
    """
    content, key = manifest.to_bytes(), version_key(manifest.version)
    is_new = store.put_if_absent(key, content)
    if not is_new and store.get(key) != content:
        raise OutputNotEmpty(
            f"{store}: another writer published version {manifest.version} first; nothing of it "
            "was changed"
        )
    for beside, text in companions(manifest).items():
        store.put(beside, text)
    return is_new
