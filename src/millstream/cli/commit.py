"""`commit`: publishes what the shards of a job have made."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING

from millstream.cli.arguments import (
    add_command,
    add_json,
    add_storage_options,
    add_workers,
    storage_options,
)
from millstream.cli.secrets import add_encryption, encryption_asked
from millstream.cli.show import print_json
from millstream.writing.commit_shards import commit

if TYPE_CHECKING:
    from millstream.cli.arguments import Commands

COMMIT = """\
Publishes what the shards of `millstream optimize --shard I/N` have made in OUTPUT.

Chunks that no shard could build yet are built here. The dataset is the one that `millstream
optimize` makes without shards, byte for byte. If inputs are not done yet, it names the shards to
run, and changes nothing. A commit that was stopped goes on when the same command is given again.
"""
COMMIT_END = """\
examples:
  millstream commit s3://data/photos
  millstream commit /shared/photos --workers 8

16 shards under SLURM, and then the commit:
  job=$(sbatch --parsable --array=0-15 --wrap \\
    'millstream optimize prepare:read s3://raw s3://data --shard $SLURM_ARRAY_TASK_ID/16')
  sbatch --dependency=afterok:$job --wrap 'millstream commit s3://data'

exit codes: 0 done; 1 it failed, or inputs are not done yet; 2 the command makes no sense.
"""


def add_commands(commands: Commands) -> None:
    """Declares it."""
    parser = add_command(
        commands,
        "commit",
        _commit,
        summary="publish what shards have made",
        description=COMMIT,
        epilog=COMMIT_END,
    )
    parser.add_argument("output", metavar="OUTPUT", help="the output of the shards")
    add_workers(parser, "processes that build chunks")
    parser.add_argument("--job", metavar="DIGEST", help="which one, of several; its start will do")
    add_encryption(parser)
    add_storage_options(parser)
    parser.add_argument(
        "--take-over",
        action="store_true",
        help="although shards, which are gone, are noted as being at it in a bucket",
    )
    add_json(parser)


def _commit(args: argparse.Namespace) -> int:
    report = commit(
        args.output,
        num_workers=args.num_workers,
        encryption=encryption_asked(args),
        storage_options=storage_options(args),
        job=args.job,
        take_over=args.take_over,
        verbose=False if args.json else None,
    )
    if args.json:
        print_json(asdict(report))
    return 0
