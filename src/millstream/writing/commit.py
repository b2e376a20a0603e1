"""Chunks -> a version: the manifest, and the one step that makes it visible.

Several may make versions of a dataset at once: whoever creates the next number first has won. The
others see the winner's version then, and an append goes on from that one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from millstream.errors import OutputBusy, OutputNotEmpty, SampleError
from millstream.format import (
    ChunkTable,
    Manifest,
    Schema,
    Tombstone,
    common_schema,
    schema_difference,
)
from millstream.format.keys import LATEST, version_key
from millstream.store import WritableStore
from millstream.versions import Version, newest_version
from millstream.writing.identity import Mode
from millstream.writing.placed import ChunkRecord

# Each time another writer has published: with fewer of them than this nobody gives up.
MAX_RACES = 100


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
        version=1,
        schema=Schema(tree=schema.tree, fields=fields),
        chunks=table,
        settings=settings,
        filters=tuple(sorted({name for chunk in chunks for name in chunk.filters})),
    )


def shaping(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those settings of a job that shaped its chunks: the ones that a manifest keeps."""
    kept = ("chunk_bytes", "chunk_size", "item_loader", "compression", "encryption")
    return {key: settings[key] for key in kept if key in settings}


def companions(manifest: Manifest) -> dict[str, bytes]:
    """The objects, by key, that go with the newest version: for people, and the hint."""
    beside = version_summary(manifest)
    return {**beside, LATEST: b"%d\n" % manifest.version}


def version_summary(version: Manifest | Tombstone) -> dict[str, bytes]:
    """The JSON beside a version, for people, by its key."""
    text = json.dumps(version.summary(), indent=2) + "\n"
    return {f"{version_key(version.version)}.json": text.encode()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A version that holds the chunks of a job.

    first: the number of its first chunk in there. is_new: False if an earlier run had published
    it. before: the version that it follows, if this run made it.
    """

    manifest: Manifest
    first: int
    is_new: bool
    before: Manifest | None = None


def publish_next(
    store: WritableStore, made: Manifest, mode: Mode, seen: Version | None
) -> Published:
    """Makes the version that follows the newest one, of the chunks that `made` lists.

    seen: the newest version when the job began. Raises OutputNotEmpty for an overwrite if it is no
    longer that one, SampleError for an append whose samples are not like those of the newest.
    """
    for _ in range(MAX_RACES):
        parent = newest_version(store)
        if parent and (first := find_chunks(parent.manifest, made, mode)) is not None:
            _put_companions(store, parent.manifest)  # before which a run may have been killed
            return Published(manifest=parent.manifest, first=first, is_new=False)
        if mode == "overwrite":
            _refuse_unseen(store, seen, parent)
        manifest = made if parent is None else follow(store, parent, made, mode)
        if store.put_if_absent(version_key(manifest.version), manifest.to_bytes()):
            _put_companions(store, manifest)
            first = len(manifest.chunks) - len(made.chunks)
            before = None if parent is None else parent.manifest
            return Published(manifest=manifest, first=first, is_new=True, before=before)
    raise OutputBusy(
        f"{store}: while this job tried to publish, {MAX_RACES} other versions were published; run "
        "the same call again when there are fewer writers: its chunks are kept"
    )


def find_chunks(version: Manifest, made: Manifest, mode: Mode | None) -> int | None:
    """Where a version has all chunks that `made` lists, in their order; None if it has not.

    An overwrite is there only if there is nothing else.
    """
    have, want = version.chunks.digests, made.chunks.digests
    if mode == "overwrite":
        return 0 if np.array_equal(have, want) else None
    starts = np.flatnonzero((have == want[0]).all(axis=1))
    found = (n for n in starts.tolist() if np.array_equal(have[n : n + len(want)], want))
    return next(found, None)


def follow(store: WritableStore, parent: Version, made: Manifest, mode: Mode) -> Manifest:
    """The next version; raises SampleError if rows would be appended that are of other types."""
    schema, chunks, filters = made.schema, made.chunks, made.filters
    if mode == "append":
        if error := unlike(store, parent, schema, has_tokens=made.tokens is not None):
            raise error
        schema = common_schema([parent.manifest.schema, schema])
        chunks = ChunkTable.joined([parent.manifest.chunks, chunks])
        filters = all_filters([parent.manifest, made])
    return Manifest(
        version=parent.manifest.version + 1,
        parent=parent.digest,
        schema=schema,
        chunks=chunks,
        settings={**made.settings, "mode": mode},
        filters=filters,
    )


def all_filters(manifests: Sequence[Manifest]) -> tuple[str, ...]:
    """The names of the filters that any of the chunks of these were written with."""
    return tuple(sorted({name for manifest in manifests for name in manifest.filters}))


def unlike(
    store: WritableStore, parent: Version, schema: Schema, *, has_tokens: bool
) -> SampleError | None:
    """Why rows of a schema cannot be appended to a version; None if they can."""
    if error := mixed(store, parent, has_tokens=has_tokens):
        return error
    found = schema_difference(parent.manifest.schema, schema)
    if found is None:
        return None
    return SampleError(
        f"the field {found.name!r} is {found.got}, in version {parent.manifest.version} of {store} "
        f"{found.expected}; what is appended must have the same structure and types"
    )


def mixed(store: WritableStore, parent: Version, *, has_tokens: bool) -> SampleError | None:
    """Why rows that are documents of tokens, or are not, cannot be appended; None if they can."""
    if (parent.manifest.tokens is not None) == has_tokens:
        return None
    kinds = "samples of another kind", "documents of tokens"
    return SampleError(
        f"version {parent.manifest.version} of {store} holds {kinds[not has_tokens]}, what is "
        f"appended is {kinds[has_tokens]}; pass item_loader=TokensLoader() just for datasets that "
        "were written with it"
    )


def _refuse_unseen(store: WritableStore, seen: Version | None, parent: Version | None) -> None:
    """An overwrite replaces what its caller knew, and nothing else."""
    if parent is not None and (seen is None or seen.digest != parent.digest):
        before = "there was no version" if seen is None else f"version {seen.manifest.version}"
        raise OutputNotEmpty(
            f"{store}: another writer published version {parent.manifest.version} meanwhile; when "
            f"this overwrite began, {before} was the newest. Nothing was changed, and what "
            "this job has made is kept: run the same call again to replace that version too"
        )


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
    _put_companions(store, manifest)
    return is_new


def _put_companions(store: WritableStore, manifest: Manifest) -> None:
    for beside, text in companions(manifest).items():
        store.put(beside, text)
