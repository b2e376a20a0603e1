"""`verify`: whether a version is what was written."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from millstream.cli.arguments import add_command, add_json, add_place, open_given
from millstream.cli.show import plural, print_json, progress
from millstream.errors import CorruptData
from millstream.reading.verify import Finding, check_bytes, check_parent, check_sizes
from millstream.store import Store
from millstream.units import size_text
from millstream.versions import Version, load_version

if TYPE_CHECKING:
    from millstream.cli.arguments import Commands

VERIFY = """\
Reads every byte of a version and lists all that is not as it was written: chunks that are
missing, cut or changed; the rows and fields that a changed byte belongs to; headers that
contradict the manifest.

Rows are counted from 0 over the whole version, as `millstream get` counts them. A checksum
covers one row of a field whose values vary in size, or some 64 KiB of rows of a column.
"""
VERIFY_END = """\
examples:
  millstream verify data/photos
  millstream verify data/photos --quick       after a copy: is every chunk there, and whole?
  millstream verify data/photos --json | jq -r '.problems[].digest'

exit codes: 0 nothing was found; 1 something was, or there is no such dataset.
"""
# Hashing lets other threads run; more than these read no faster from a disk.
THREADS = min(4, os.cpu_count() or 1)


def add_commands(commands: Commands) -> None:
    """Declares it."""
    verify = add_command(
        commands,
        "verify",
        _verify,
        summary="check every byte of a version",
        description=VERIFY,
        epilog=VERIFY_END,
    )
    add_place(verify, version=True)
    verify.add_argument(
        "--quick", action="store_true", help="look at presence and sizes only; reads no chunk"
    )
    add_json(verify)


def _verify(args: argparse.Namespace) -> int:
    store = open_given(args)
    try:
        version = load_version(store, args.version)
    except CorruptData as error:
        return _report(args, str(store), None, [Finding(problem=str(error))])
    return _report(args, str(store), version, _findings(store, version, quick=args.quick))


def _findings(store: Store, version: Version, *, quick: bool) -> list[Finding]:
    manifest = version.manifest
    found = list(check_parent(store, version))
    checks = (
        check_sizes(store, manifest) if quick else check_bytes(store, manifest, threads=THREADS)
    )
    with progress(manifest.nbytes) as bar:
        for checked in checks:
            found += checked.findings
            bar.update(checked.size)
    return found


def _report(
    args: argparse.Namespace, place: str, version: Version | None, found: list[Finding]
) -> int:
    manifest = version and version.manifest
    if args.json:
        print_json(
            {
                "place": place,
                "version": manifest.version if manifest else args.version,
                "chunks": len(manifest.chunks) if manifest else None,
                "rows": manifest.rows if manifest else None,
                "quick": args.quick,
                "ok": not found,
                "problems": [_document(finding) for finding in found],
            }
        )
    else:
        print("\n".join(_lines(args, place, version, found)))
    return 1 if found else 0


def _document(finding: Finding) -> dict[str, object]:
    first, last = finding.rows or (None, None)
    return {
        "problem": finding.problem,
        "chunk": finding.chunk,
        "digest": finding.digest,
        "first_row": first,
        "last_row": last,
        "fields": list(finding.fields),
    }


def _lines(
    args: argparse.Namespace, place: str, version: Version | None, found: list[Finding]
) -> list[str]:
    lines = [str(finding) for finding in found]
    if version is None:
        return lines
    manifest = version.manifest
    whole = (
        f"{place}, version {manifest.version}: {plural(manifest.rows, 'row')} in "
        f"{plural(len(manifest.chunks), 'chunk')}, {size_text(manifest.nbytes)}: "
    )
    if not found:
        what = "every chunk is there and has its size" if args.quick else "every byte is right"
        return [whole + what]
    bad = sorted({finding.digest for finding in found if finding.digest})
    lines += ["", whole + f"{plural(len(found), 'problem')} in {plural(len(bad), 'chunk')}"]
    if bad:
        lines += ["Copy these files again from where they are whole, or write the dataset again:"]
        lines += [f"  {place}/chunks/{name}" for name in bad]
    return lines
