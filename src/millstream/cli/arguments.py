"""How commands are declared, and the arguments that several of them share."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from millstream.store import Store, open_store

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

Run = Callable[[argparse.Namespace], int]

_AGE = re.compile(r"([0-9]+(?:\.[0-9]+)?)([smhdw]?)")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


def command_line(name: str, description: str, epilog: str) -> argparse.ArgumentParser:
    """A parser whose texts are printed as they are written here."""
    return argparse.ArgumentParser(
        prog=name,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def add_command(
    commands: Commands, name: str, run: Run, *, summary: str, description: str, epilog: str
) -> argparse.ArgumentParser:
    """Adds a command with its help: what it does, examples, exit codes."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(run=run)
    return parser


def add_place(parser: argparse.ArgumentParser, *, version: bool = False) -> None:
    """The dataset, and which of its versions."""
    parser.add_argument(
        "place", metavar="URL", help="the dataset's folder, or where else it is: s3://BUCKET/PATH"
    )
    add_storage_options(parser)
    if version:
        parser.add_argument(
            "--version", type=int, metavar="N", help="the version with this number, not the newest"
        )


def add_storage_options(parser: argparse.ArgumentParser) -> None:
    """How to reach a bucket."""
    parser.add_argument(
        "--storage-option",
        dest="storage_options",
        action="append",
        type=_pair,
        default=[],
        metavar="KEY=VALUE",
        help="such as endpoint_url=https://...; as often as needed. Other users of the machine see "
        "command lines: keep secrets in the environment or the cloud's own files",
    )


def storage_options(args: argparse.Namespace) -> dict[str, str] | None:
    """What was given of them."""
    return dict(args.storage_options) or None


def open_given(args: argparse.Namespace) -> Store:
    """The store of the dataset."""
    return open_store(args.place, storage_options(args))


def _pair(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not key or not separator:
        raise argparse.ArgumentTypeError("a storage option is KEY=VALUE")
    return key, value


def add_workers(parser: argparse.ArgumentParser, what: str) -> None:
    """How many processes do what the command does; what: for the help."""
    parser.add_argument(
        "--workers",
        "--num-workers",
        dest="num_workers",
        type=int,
        metavar="N",
        help=f"{what}; by default one a CPU; 0 works in this process",
    )


def add_mode(parser: argparse.ArgumentParser) -> None:
    """What a job does to a dataset that is there."""
    parser.add_argument(
        "--mode",
        choices=["append", "overwrite"],
        help="what becomes of the dataset in OUTPUT: a version with more rows, or with others",
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """The choice between text and JSON."""
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def age(text: str) -> float:
    """Seconds from 90s, 30m, 12h, 7d, 2w, or 0."""
    match = _AGE.fullmatch(text)
    if match is None or (not match[2] and float(match[1])):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not an age: a number and a unit, such as 30m, 12h or 7d; or 0"
        )
    return float(match[1]) * _SECONDS[match[2] or "s"]


def at_least_one(text: str) -> int:
    """A whole number from 1."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)
