"""The command `millstream`: looks at datasets, checks, mends, tidies and writes them."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from millstream import __version__
from millstream.cli import cache, check, commit, images, info, ls, mend, merge, plan, sample, write
from millstream.cli.arguments import command_line
from millstream.cli.show import reason
from millstream.errors import MillstreamError, UsageError

# What a shell reports for a program that Ctrl-C, or a closed pipe, has ended.
INTERRUPTED = 130
PIPE_CLOSED = 141

EPILOG = """\
examples:
  millstream optimize prepare:read_photo photos data/photos
  millstream info data/photos
  millstream get data/photos 0 --field image --output first.jpg
  millstream verify data/photos

`millstream COMMAND --help` explains a command. Results go to stdout, as text or, with --json,
as one JSON document; progress and notes go to stderr.

exit codes: 0 done; 1 it failed, or verify found a problem; 2 the command makes no sense.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code; by default that of sys.argv.

    Raises SystemExit(2), as argparse does, for a command line that cannot be parsed.
    """
    args = parser().parse_args(arguments)
    try:
        code: int = args.run(args)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except KeyboardInterrupt:
        return _failed(args.command, "interrupted", INTERRUPTED)
    except MillstreamError as error:
        return _failed(args.command, str(error), 2 if isinstance(error, UsageError) else 1)
    except OSError as error:
        return _failed(args.command, reason(error), 1)


def _failed(command: str, message: str, code: int) -> int:
    print(f"millstream {command}: {message}", file=sys.stderr)
    return code


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = command_line(
        "millstream",
        "Looks at datasets of chunks, checks them, mends them, tidies them up, and writes them.",
        EPILOG,
    )
    top.add_argument("--version", action="version", version=f"millstream {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for group in (info, ls, sample, plan, check, mend, write, commit, merge, images, cache):
        group.add_commands(commands)
    return top
