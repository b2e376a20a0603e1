"""`merge`: several datasets made one."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING

from millstream.cli.arguments import (
    add_command,
    add_json,
    add_mode,
    add_storage_options,
    storage_options,
)
from millstream.cli.show import print_json
from millstream.writing.merge import merge_datasets

if TYPE_CHECKING:
    from millstream.cli.arguments import Commands

MERGE = """\
Makes one dataset of the newest versions of several, in the order in which they are given. Their
samples must have the same structure and types.

Chunks are copied as they are: in a bucket by the server, on one file system by giving the file a
further name, else through this machine. The inputs are not changed, and may be deleted afterwards.

A merge that was stopped goes on when the same command is given again.
"""
MERGE_END = """\
examples:
  millstream merge data/2024 data/2025 data/all
  millstream merge s3://bucket/a s3://bucket/b s3://bucket/all
  millstream merge data/today data/all --mode append

exit codes: 0 done; 1 it failed, and says why; 2 the command makes no sense.
"""


def add_commands(commands: Commands) -> None:
    """Declares it."""
    merge = add_command(
        commands,
        "merge",
        _merge,
        summary="make one dataset of several",
        description=MERGE,
        epilog=MERGE_END,
    )
    merge.add_argument("inputs", metavar="URL", nargs="+", help="the datasets to merge")
    merge.add_argument("output", metavar="OUTPUT", help="a new or empty folder, or a URL")
    add_mode(merge)
    add_storage_options(merge)
    merge.add_argument(
        "--take-over",
        action="store_true",
        help="go on with a merge in a bucket that another machine, which is gone, is noted at",
    )
    add_json(merge)


def _merge(args: argparse.Namespace) -> int:
    report = merge_datasets(
        args.inputs,
        args.output,
        mode=args.mode,
        storage_options=storage_options(args),
        take_over=args.take_over,
        verbose=False if args.json else None,
    )
    if args.json:
        print_json(asdict(report))
    return 0
