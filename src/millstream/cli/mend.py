"""`repair` and `prune`: what changes a dataset that is already there."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from millstream.cli.arguments import add_command, add_json, add_place, age, at_least_one, open_given
from millstream.cli.check import THREADS
from millstream.cli.show import note, plural, print_json, progress
from millstream.units import size_text
from millstream.writing.prune import Pruning, prune
from millstream.writing.repair import Repair, repair

if TYPE_CHECKING:
    from millstream.cli.arguments import Commands

REPAIR = """\
Makes a dataset readable again whose manifest was damaged or lost.

The newest manifest that can be read is trusted: what goes with it is written again, and damaged
manifests of later versions are moved aside, as versions/N.damaged. If none can be read, version 1
is rebuilt from the chunks of the job that wrote them: these are all read, and it is refused if
one is damaged, missing or there twice. Nothing is deleted. The bytes of chunks are not mended:
`millstream verify` finds which are bad.
"""
REPAIR_END = """\
How many chunks a job wrote is known from runs/ or from versions/000000000001.json. Without
both, chunks missing at the end cannot be noticed: repair says so.

examples:
  millstream repair data/photos --dry-run
  millstream repair data/photos
  millstream repair data/photos --job 3f2a91c0     where chunks of several jobs lie

exit codes: 0 the dataset can be read; 1 it cannot be repaired; 2 a choice is needed.
"""
PRUNE = """\
Frees the space of old versions. Nothing else ever deletes an object of a dataset.

The newest N versions stay, and so does whatever is younger than AGE. Other versions are marked
as pruned, so that opening one says so; then the chunks that no version has any more are deleted,
and what killed writers left half-written. Other files are never touched. A reader that is still
open on a pruned version fails at its next chunk: AGE should be longer than your longest run.
"""
PRUNE_END = """\
examples:
  millstream prune data/photos --keep 2 --older-than 7d --dry-run
  millstream prune data/photos --keep 1 --older-than 0

exit codes: 0 done; 1 refused: a job is writing here, or a version is damaged or missing;
2 the command makes no sense.
"""


def add_commands(commands: Commands) -> None:
    """Declares both."""
    mend = add_command(
        commands,
        "repair",
        _repair,
        summary="make a dataset readable again",
        description=REPAIR,
        epilog=REPAIR_END,
    )
    add_place(mend)
    mend.add_argument("--job", metavar="DIGEST", help="rebuild from this job; its start will do")
    _add_dry_run(mend)
    add_json(mend)
    tidy = add_command(
        commands,
        "prune",
        _prune,
        summary="free the space of old versions",
        description=PRUNE,
        epilog=PRUNE_END,
    )
    add_place(tidy)
    tidy.add_argument(
        "--keep", type=at_least_one, required=True, metavar="N", help="how many versions stay"
    )
    tidy.add_argument(
        "--older-than",
        type=age,
        required=True,
        metavar="AGE",
        help="what is younger stays: 30m, 12h, 7d, 2w, or 0",
    )
    _add_dry_run(tidy)
    add_json(tidy)


def _add_dry_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would be done, change nothing"
    )


def _repair(args: argparse.Namespace) -> int:
    store = open_given(args)
    with progress(None) as bar:
        done = repair(
            store, job=args.job, dry_run=args.dry_run, threads=THREADS, advance=bar.update
        )
    for text in done.notes:
        note(text)
    if args.json:
        print_json({"place": str(store), "dry_run": args.dry_run, **_repair_document(done)})
    else:
        print("\n".join(_repair_lines(str(store), done, dry_run=args.dry_run)))
    return 0


def _repair_document(done: Repair) -> dict[str, object]:
    rebuilt = done.rebuilt
    return {
        "newest": done.newest,
        "moved_aside": {str(number): key for number, key in done.aside.items()},
        "written": sorted(done.put),
        "rebuilt": rebuilt
        and {"job": done.job, "rows": rebuilt.rows, "chunks": len(rebuilt.chunks)},
        "notes": list(done.notes),
    }


def _repair_lines(place: str, done: Repair, *, dry_run: bool) -> list[str]:
    would = "would be " if dry_run else ""
    lines = [
        f"version {number}, which is damaged, {would}moved aside to {place}/{key}"
        for number, key in done.aside.items()
    ]
    lines += [f"{place}/{key} {would}written again" for key in done.put]
    if done.rebuilt is None:
        same = "; nothing to repair" if not lines else ""
        return [*lines, f"{place}: version {done.newest} is the newest and can be read{same}"]
    rebuilt = done.rebuilt
    return [
        *lines,
        f"{place}: version 1 {would}rebuilt from the {plural(len(rebuilt.chunks), 'chunk')} of the "
        f"job {done.job}: {plural(rebuilt.rows, 'row')}, {size_text(rebuilt.nbytes)}",
    ]


def _prune(args: argparse.Namespace) -> int:
    store = open_given(args)
    done = prune(
        store,
        keep=args.keep,
        older_than=args.older_than,
        now=time.time(),
        dry_run=args.dry_run,
    )
    if args.json:
        print_json({"place": str(store), "dry_run": args.dry_run, **_prune_document(done)})
    else:
        print("\n".join(_prune_lines(str(store), done, dry_run=args.dry_run)))
    return 0


def _prune_document(done: Pruning) -> dict[str, object]:
    return {
        "kept": list(done.kept),
        "pruned": [stone.version for stone in done.tombstones],
        "deleted": [found.key for found in done.deleted],
        "freed_bytes": done.freed,
        "spared": [found.key for found in done.spared],
        "spared_bytes": sum(found.size for found in done.spared),
    }


def _prune_lines(place: str, done: Pruning, *, dry_run: bool) -> list[str]:
    would = "would be " if dry_run else ""
    lines = [f"{place}: {_versions(done.kept)} kept"]
    if done.tombstones:
        pruned = _versions([stone.version for stone in done.tombstones])
        lines.append(f"{pruned} {would}pruned")
    lines.append(f"{size_text(done.freed)} {would}freed: {plural(len(done.deleted), 'object')}")
    if done.spared:
        size = size_text(sum(found.size for found in done.spared))
        lines.append(
            f"{plural(len(done.spared), 'object')} ({size}) that nothing needs, but too young to go"
        )
    return lines


def _versions(numbers: tuple[int, ...] | list[int]) -> str:
    noun = "version" if len(numbers) == 1 else "versions"
    return f"{noun} {', '.join(map(str, numbers))}"
