"""`info`: what a dataset is, without reading its rows."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING

from millstream.cli.arguments import add_command, add_json, add_place, open_given
from millstream.cli.show import dtype_text, note, pairs, plural, print_json, reason, table
from millstream.encryption import KINDS
from millstream.errors import CorruptData
from millstream.format import Field, Header, Manifest, Tombstone
from millstream.format.keys import chunk_key
from millstream.format.stored import Stored, stored
from millstream.reading.sizes import MeanSize, known_sizes, mean_sizes
from millstream.store import LocalStore, NearStore, Store, near
from millstream.units import size_text
from millstream.versions import Past, Version, history, load_version
from millstream.writing.inventory import RunRecord, chunk_header, run_record

if TYPE_CHECKING:
    from millstream.cli.arguments import Commands

INFO = """\
Says what a dataset is: rows, size, chunks, the fields of a sample, how it is stored, who made it,
and its versions.

A field's mean size is exact where all rows have one shape; otherwise it is measured at up to 512
rows, evenly spread, and marked with "about"; only lengths are read, but of compressed rows, which
are opened for it. In a bucket, or where rows are encrypted, it is not measured. How much smaller
compression makes it is that of the first chunk.
"""
INFO_END = """\
examples:
  millstream info data/photos
  millstream info data/photos --version 1
  millstream info data/photos --json | jq .rows

exit codes: 0 done; 1 there is no such dataset or version, or its manifest is damaged.
"""


def add_commands(commands: Commands) -> None:
    """Declares it."""
    info = add_command(
        commands, "info", _info, summary="what a dataset is", description=INFO, epilog=INFO_END
    )
    add_place(info, version=True)
    add_json(info)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Described:
    """All that can be found out about a version. header, sizes: None where a chunk is bad."""

    place: str
    version: Version
    newest: int
    past: list[tuple[int, Past]]
    header: Header | None
    sizes: list[MeanSize | None]
    run: RunRecord | None

    @property
    def manifest(self) -> Manifest:
        return self.version.manifest

    @property
    def job(self) -> str | None:
        """The digest of the job that wrote the first chunk."""
        return None if self.header is None else self.header.identity.job.hex()

    @property
    def stored(self) -> Stored | None:
        """How the first chunk is stored."""
        return None if self.header is None else stored(self.header.layout)

    @property
    def filters(self) -> tuple[str, str]:
        """Compression and encryption, as any chunk has them."""
        names = self.manifest.filters
        ciphers = ", ".join(name for name in names if name in KINDS)
        return "zstd" if "zstd" in names else "none", ciphers or "none"


def _info(args: argparse.Namespace) -> int:
    store = open_given(args)
    described = _describe(store, args.version)
    if args.json:
        print_json(_document(described))
    else:
        print("\n".join(_page(described)))
    return 0


def _describe(store: Store, number: int | None) -> _Described:
    newest = load_version(store)
    version = newest if number is None else load_version(store, number)
    header: Header | None = None
    sizes = known_sizes(version.manifest)
    try:
        header = _first_header(store, version.manifest)
        if (here := _here(store, version.manifest)) is not None:
            sizes = [*mean_sizes(here, version.manifest)]
    except (CorruptData, OSError) as error:
        note(f"a chunk cannot be read: {reason(error)}; see `millstream verify {store}`")
    return _Described(
        place=str(store),
        version=version,
        newest=newest.manifest.version,
        past=list(history(store, newest.manifest.version)),
        header=header,
        sizes=sizes,
        run=None if header is None else run_record(store, header.identity.job.hex()),
    )


def _here(store: Store, manifest: Manifest) -> NearStore | None:
    """The store, if looking at some lengths in every chunk costs little and needs no key."""
    if not KINDS.isdisjoint(manifest.filters):
        return None
    return store if isinstance(store, LocalStore) else near(store)


def _first_header(store: Store, manifest: Manifest) -> Header | None:
    if not len(manifest.chunks):
        return None
    return chunk_header(store, chunk_key(manifest.chunks.name(0)), int(manifest.chunks.sizes[0]))


def _page(found: _Described) -> list[str]:
    manifest = found.manifest
    settings = [
        f"{name} {value:,}" if isinstance(value, int) else f"{name} {value}"
        for name, value in manifest.settings.items()
        if value is not None and name != "mode"
    ]
    facts = [
        ("dataset", found.place),
        ("version", _version_line(found)),
        ("rows", f"{manifest.rows:,}"),
        ("tokens", "" if manifest.tokens is None else f"{manifest.tokens:,}"),
        ("size", _size_line(manifest)),
        ("stored", _stored_line(found)),
        ("settings", ", ".join(settings)),
        ("job", found.job or ""),
        ("written", _written(found.run)),
    ]
    return [*pairs(facts), "", *_fields(found), "", *_history(found)]


def _version_line(found: _Described) -> str:
    number = found.manifest.version
    newest = "the newest" if number == found.newest else f"the newest is {found.newest}"
    return f"{number}, {newest}; digest {found.version.digest[:16]}"


def _size_line(manifest: Manifest) -> str:
    chunks = len(manifest.chunks)
    text = f"{size_text(manifest.nbytes)} in {plural(chunks, 'chunk')}"
    if not chunks:
        return text
    each, a_row = (size_text(manifest.nbytes / count) for count in (chunks, manifest.rows))
    return f"{text}, on average {each} a chunk, {a_row} a row"


def _stored_line(found: _Described) -> str:
    compression, encryption = found.filters
    how = found.stored
    if how is None:
        return f"compression {compression}, encryption {encryption}"
    if how.level is not None:
        compression += f", level {how.level}, by {how.by}"
        if how.dictionary:
            compression += f", with a dictionary of {size_text(how.dictionary)}"
        if how.ratio:
            compression += f"; {how.ratio:.1f} times smaller in the first chunk"
    if how.cipher is not None:
        encryption += f", by {'chunk' if how.is_whole else 'sample'}"
    if (unit := how.opened_at_once) != "row":
        compression += f"; no cheap random access: a row needs its whole {unit}"
    return f"compression {compression}{'; ' if ';' in compression else ', '}encryption {encryption}"


def _written(run: RunRecord | None) -> str:
    if run is None:
        return ""
    libraries = ", ".join(f"{name} {number}" for name, number in run.libraries.items() if number)
    return f"{run.finished} on {run.host} with {libraries}"


def _fields(found: _Described) -> list[str]:
    fields = found.manifest.schema.fields
    return table(
        ["FIELD", "KIND", "DTYPE", "SHAPE", "MEAN SIZE"],
        [
            [field.name, field.kind, dtype_text(field.dtype), _shape(field), _mean(size)]
            for field, size in zip(fields, found.sizes, strict=True)
        ],
    )


def _shape(field: Field) -> str:
    if field.kind not in ("ndarray", "tensor"):
        return ""
    return "varies" if field.shape is None else str(field.shape)


def _mean(size: MeanSize | None) -> str:
    if size is None:
        return "unknown"
    return f"{'' if size.exact else 'about '}{size_text(size.nbytes)}"


def _history(found: _Described) -> list[str]:
    rows = []
    for number, past in found.past:
        digest = past.digest[:16] if isinstance(past, Version | Tombstone) else ""
        if isinstance(past, Version):
            manifest = past.manifest
            counts = [f"{manifest.rows:,}", size_text(manifest.nbytes), f"{len(manifest.chunks):,}"]
            parent, mode = (manifest.parent or "")[:16], _mode(manifest)
            told = "newest" if number == found.newest else ""
        else:
            counts, parent, mode, told = [""] * 3, "", "", _state(past)
        rows.append([f"{number}", *counts, digest, parent, mode, told])
    titles = ["VERSION", "ROWS", "SIZE", "CHUNKS", "DIGEST", "PARENT", "MODE", ""]
    return table(titles, rows, right="VERSION ROWS SIZE CHUNKS")


def _mode(manifest: Manifest) -> str:
    """How a version was made from its parent."""
    return str(manifest.settings.get("mode", ""))


def _document(found: _Described) -> dict[str, object]:
    manifest, run = found.manifest, found.run
    fields = manifest.schema.fields
    compression, encryption = found.filters
    return {
        "place": found.place,
        "version": manifest.version,
        "digest": found.version.digest,
        "newest": found.newest,
        "rows": manifest.rows,
        "tokens": manifest.tokens,
        "bytes": manifest.nbytes,
        "chunks": len(manifest.chunks),
        "fields": [_field_json(f, s) for f, s in zip(fields, found.sizes, strict=True)],
        "compression": compression,
        "encryption": encryption,
        "stored": _stored_json(found.stored),
        "settings": manifest.settings,
        "job": found.job,
        "run": run and {"finished": run.finished, "host": run.host, "libraries": run.libraries},
        "history": [_past_json(number, past) for number, past in found.past],
    }


def _stored_json(how: Stored | None) -> dict[str, object] | None:
    """How the first chunk is compressed, and opened; None if there is nothing to open."""
    if how is None or (how.level is None and how.cipher is None):
        return None
    access: dict[str, object] = {"cheap_random_access": how.opened_at_once == "row"}
    if how.level is None:
        return access
    ratio = how.ratio and round(how.ratio, 2)
    return {"level": how.level, "by": how.by, "ratio": ratio, **access}


def _field_json(field: Field, size: MeanSize | None) -> dict[str, object]:
    return {
        "name": field.name,
        "kind": field.kind,
        "dtype": field.dtype or None,
        "shape": field.shape,
        "mean_bytes": size and size.nbytes,
        "exact": size and size.exact,
    }


def _past_json(number: int, past: Past) -> dict[str, object]:
    manifest = past.manifest if isinstance(past, Version) else None
    return {
        "version": number,
        "state": _state(past),
        "digest": past.digest if isinstance(past, Version | Tombstone) else None,
        "parent": manifest and manifest.parent,
        "mode": manifest and (_mode(manifest) or None),
        "rows": manifest and manifest.rows,
        "bytes": manifest and manifest.nbytes,
        "chunks": manifest and len(manifest.chunks),
    }


def _state(past: Past) -> str:
    if past is None:
        return "missing"
    return {Version: "whole", Tombstone: "pruned", CorruptData: "damaged"}[type(past)]
