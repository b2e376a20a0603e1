"""`cache`: the copies that this machine keeps of chunks that lie far away."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from millstream.cache import Cache, Entry, default_root
from millstream.cli.arguments import add_command, add_json
from millstream.cli.show import plural, print_json, table
from millstream.units import size_text

if TYPE_CHECKING:
    from millstream.cli.arguments import Commands

CACHE = "The copies that this machine keeps of chunks that lie far away."
CACHE_END = """\
All processes of a machine, and all datasets, share one folder, unless a dataset was given another
with cache_dir=. Its copies are files named by the digest of their bytes; any of them may be removed
at any time.

examples:
  millstream cache path
  millstream cache ls
  millstream cache clear --cache-dir /scratch/me

`millstream cache ls --help` explains a command.

exit codes: 0 done; 1 the folder cannot be used; 2 it is no folder for a cache.
"""
PATH = "Prints the folder, which may not exist yet."
LS = "Lists the copies, the longest unused first, and whether a process is using them."
CLEAR = "Removes all copies that no process is using; the others stay."
END = "exit codes: 0 done; 1 the folder cannot be used; 2 it is no folder for a cache.\n"

UNITS = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))


def add_commands(commands: Commands) -> None:
    """Declares them."""
    cache = add_command(
        commands,
        "cache",
        lambda args: 2,
        summary="the copies kept on this machine",
        description=CACHE,
        epilog=CACHE_END,
    )
    actions = cache.add_subparsers(dest="action", metavar="COMMAND", required=True)
    for name, run, summary, description in (
        ("path", _path, "where they lie", PATH),
        ("ls", _ls, "what there is", LS),
        ("clear", _clear, "remove what nobody uses", CLEAR),
    ):
        action = add_command(
            actions, name, run, summary=summary, description=description, epilog=END
        )
        action.add_argument(
            "--cache-dir", type=Path, metavar="FOLDER", help="not the default folder but this one"
        )
        add_json(action)


def _root(args: argparse.Namespace) -> Path:
    return default_root() if args.cache_dir is None else args.cache_dir.expanduser()


def _path(args: argparse.Namespace) -> int:
    path = str(Cache.place(_root(args)))
    if args.json:
        print_json({"path": path})
    else:
        print(path)
    return 0


def _ls(args: argparse.Namespace) -> int:
    return _show(args, Cache.entries, "copies", "size")


def _clear(args: argparse.Namespace) -> int:
    return _show(args, Cache.clear, "removed", "freed")


def _show(
    args: argparse.Namespace, ask: Callable[[Cache], Sequence[Entry]], noun: str, total: str
) -> int:
    """Prints the entries that a cache gives; a folder that does not exist is not made."""
    path = Cache.place(_root(args))
    found = ask(Cache(_root(args), 0)) if path.is_dir() else []
    size = sum(entry.bytes for entry in found)
    if args.json:
        print_json({"path": str(path), noun: [asdict(entry) for entry in found], "bytes": size})
        return 0
    if found and noun == "copies":
        now = time.time()
        rows = [
            [e.name[:12], size_text(e.bytes), ago(now - e.last_used), "yes" if e.in_use else ""]
            for e in found
        ]
        print("\n".join(table(["DIGEST", "SIZE", "LAST USED", "IN USE"], rows, right="SIZE")))
    verb = "" if noun == "copies" else f" {total}"
    print(f"{path}: {plural(len(found), 'chunk')}, {size_text(size)}{verb}")
    return 0


def ago(seconds: float) -> str:
    """How long something is ago, to one unit."""
    for unit, length in UNITS:
        if seconds >= length:
            return f"{int(seconds // length)}{unit} ago"
    return "now"
