"""Checking a version: every chunk there, every byte as it was written."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from millstream.errors import CorruptData, UnsupportedError
from millstream.format import (
    SHUT,
    ChunkView,
    Manifest,
    Schema,
    Tombstone,
    object_bytes,
    object_digest,
)
from millstream.format.keys import chunk_key
from millstream.store import ListingStore, LocalStore, ReadableStore, blocks, staged
from millstream.store.local import map_file
from millstream.versions import Version, history


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that is not as it should be.

    chunk, digest: which chunk. rows: the first and the last row of the version that it
    concerns. fields: their names. Each is None or empty where it is not known.
    """

    problem: str
    chunk: int | None = None
    digest: str | None = None
    rows: tuple[int, int] | None = None
    fields: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.chunk is None or self.digest is None:
            return self.problem
        words = [f"chunk {self.chunk} ({self.digest[:12]})"]
        if self.rows is not None:
            first, last = self.rows
            words.append(f"row {first:,}" if first == last else f"rows {first:,} to {last:,}")
        if self.fields:
            words.append(
                f"{'field' if len(self.fields) == 1 else 'fields'} {', '.join(self.fields)}"
            )
        return f"{', '.join(words)}: {self.problem}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A chunk that was looked at. size: its bytes, as the manifest lists them."""

    size: int
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Listed:
    """What the manifest says of a chunk. first: its first row in the version. tokens: if any."""

    chunk: int
    digest: str
    size: int
    rows: int
    lead: int
    first: int
    tokens: int | None

    def finding(self, problem: str) -> Finding:
        """Something wrong with the chunk as a whole."""
        last = self.first + self.rows - 1
        return Finding(
            problem=problem, chunk=self.chunk, digest=self.digest, rows=(self.first, last)
        )


def check_parent(store: ReadableStore, version: Version) -> tuple[Finding, ...]:
    """Whether a version follows the one before it, if that is still known."""
    number = version.manifest.version
    _, past = next(history(store, number - 1), (0, None))
    if not isinstance(past, Version | Tombstone) or past.digest == version.manifest.parent:
        return ()
    return (
        Finding(
            problem=f"version {number} says that it follows {version.manifest.parent}, but version "
            f"{number - 1} is {past.digest}: one of the two is not what was written"
        ),
    )


def check_sizes(store: ListingStore, manifest: Manifest) -> Iterator[Checked]:
    """Looks at each chunk's presence and size only, by one listing."""
    sizes = {found.key: found.size for found in store.list("chunks/")}
    for listed in _listed(manifest):
        found = sizes.get(chunk_key(listed.digest))
        problem = _wrong_size(found, listed)
        findings = () if problem is None else (listed.finding(problem),)
        yield Checked(size=listed.size, findings=findings)


def check_bytes(store: ReadableStore, manifest: Manifest, *, threads: int) -> Iterator[Checked]:
    """Reads every byte of every chunk, several at once; gives them in order."""
    pending: deque[Future[Checked]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for listed in _listed(manifest):
                pending.append(pool.submit(_check, store, manifest.schema, listed))
                if len(pending) > 2 * threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def _listed(manifest: Manifest) -> Iterator[_Listed]:
    table = manifest.chunks
    firsts = np.cumsum(table.rows, dtype=np.int64) - table.rows
    for chunk in range(len(table)):
        yield _Listed(
            chunk=chunk,
            digest=table.name(chunk),
            size=int(table.sizes[chunk]),
            rows=int(table.rows[chunk]),
            lead=int(table.lead[chunk]),
            first=int(firsts[chunk]),
            tokens=None if table.tokens is None else int(table.tokens[chunk]),
        )


def _check(store: ReadableStore, schema: Schema, listed: _Listed) -> Checked:
    try:
        with staged(store, chunk_key(listed.digest)) as near:
            findings = tuple(_findings(near, schema, listed))
    except FileNotFoundError:
        findings = (listed.finding("is missing"),)
    return Checked(size=listed.size, findings=findings)


def _findings(store: LocalStore, schema: Schema, listed: _Listed) -> Iterator[Finding]:
    key = chunk_key(listed.digest)
    try:
        found = store.path(key).stat().st_size
        problem = _wrong_size(found, listed)
        digest = None if problem else object_digest(blocks(store, key, found)).hex()
    except FileNotFoundError:
        problem, digest = _wrong_size(None, listed), None
    except OSError as error:
        problem, digest = f"cannot be read: {error.strerror or error}", None
    if problem is not None:
        yield listed.finding(problem)
        return
    content = tuple(_content(map_file(store.path(key)), schema, listed))
    yield from content
    if digest != listed.digest and not content:
        yield listed.finding(
            "its digest is not its name, although every checksum is right: a byte between the "
            "rows' values has changed"
        )


def _wrong_size(found: int | None, listed: _Listed) -> str | None:
    if found is None:
        return "is missing"
    if found != listed.size:
        return f"has {found:,} bytes, the manifest lists {listed.size:,}"
    return None


def _content(content: memoryview, schema: Schema, listed: _Listed) -> Iterator[Finding]:
    try:
        view = ChunkView(content, listed.digest, undoing=SHUT)
    except (CorruptData, UnsupportedError) as error:
        yield listed.finding(_bare(error, listed))
        return
    for problem in _disagreements(view, schema, listed):
        yield listed.finding(problem)
    for damage in view.problems():
        yield Finding(
            problem="does not match its checksum",
            chunk=listed.chunk,
            digest=listed.digest,
            rows=(listed.first + damage.first, listed.first + damage.last),
            fields=damage.fields,
        )


def _disagreements(view: ChunkView, schema: Schema, listed: _Listed) -> Iterator[str]:
    layout = view.layout
    if layout.rows != listed.rows:
        yield f"holds {layout.rows:,} rows, the manifest lists {listed.rows:,}"
    if (tokens := layout.count_tokens()) != listed.tokens:
        yield f"holds {_counted(tokens)}, the manifest lists {_counted(listed.tokens)}"
    least = object_bytes(layout) - layout.stored_bytes + layout.tables_bytes
    if not least <= listed.lead <= listed.size:
        yield f"its checksums end at byte {least:,}, the manifest's lead is {listed.lead:,}"
    plain = tuple(replace(field, shape=None) for field in schema.fields)
    if layout.schema != Schema(tree=schema.tree, fields=plain):
        yield "its schema is not that of the manifest"
        return
    for number, field in enumerate(schema.fields):
        if field.shape is not None and view.shape(number) != field.shape:
            found = view.shape(number)
            yield f"{field.name} has the shape {found}, the manifest says {field.shape}"


def _counted(tokens: int | None) -> str:
    return "no tokens" if tokens is None else f"{tokens:,} tokens"


def _bare(error: Exception, listed: _Listed) -> str:
    """An error's text without the chunk's name, which a finding has anyway."""
    return str(error).removeprefix(f"chunk {listed.digest}: ")
