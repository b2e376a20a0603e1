"""`optimize`: a function over files, from the shell."""

from __future__ import annotations

import argparse
import glob
import importlib
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from millstream.cli.arguments import (
    add_command,
    add_json,
    add_mode,
    add_storage_options,
    add_workers,
    at_least_one,
    storage_options,
)
from millstream.cli.secrets import add_encryption, encryption_asked
from millstream.cli.show import note, plural, print_json
from millstream.errors import FunctionError, UsageError
from millstream.store import service_of
from millstream.store.walk import walk
from millstream.tokens import TokensLoader
from millstream.writing.optimize import optimize
from millstream.writing.urls import options_of_place

if TYPE_CHECKING:
    from millstream.cli.arguments import Commands

OPTIMIZE = """\
Turns the results of a Python function, called once for each input, into a dataset.

FUNCTION is a name in MODULE, which is imported as Python does, from the current folder too. It
gets an input as text and returns a sample (a dict, list or tuple of values, or one value), or
an iterator over samples, or None for no sample.

INPUTS is one of
  a folder        every file below it, sorted by path; hidden ones, and links to folders, are
                  left out, and so is OUTPUT
  a glob          in quotes; ** stands for any folders; files only, sorted by path
  a URL           every object below s3://BUCKET/PATH and the like, sorted; hidden ones left out
  @FILE           the lines of a text file, one an input, as they are; empty lines are left out

For an input that is the URL of an object FUNCTION gets the path of a local copy, which is removed
afterwards. OUTPUT may be a prefix in a bucket: chunks are uploaded while the work goes on.

With --mode append or overwrite OUTPUT may hold a dataset: a new version of it is made, and who
reads the old one goes on. Nothing is deleted; `millstream prune` frees old versions.

A job that was stopped goes on when the same command is given again.
"""
OPTIMIZE_END = """\
example: with this in prepare.py,

  from PIL import Image

  def read_photo(path):
      return {"image": Image.open(path), "name": path}

  millstream optimize prepare:read_photo photos data/photos
  millstream optimize prepare:read_photo 'photos/**/*.jpg' data/photos --workers 8
  millstream optimize prepare:read_photo @list.txt data/photos --chunk-bytes 128MB
  millstream optimize prepare:read_photo photos s3://bucket/photos
  millstream optimize prepare:read_photo new-photos data/photos --mode append
  millstream optimize prepare:read_photo photos s3://bucket/photos --shard $SLURM_ARRAY_TASK_ID/16

exit codes: 0 done; 1 it failed, and says why; 2 the command makes no sense.
"""


def add_commands(commands: Commands) -> None:
    """Declares it."""
    write = add_command(
        commands,
        "optimize",
        _optimize,
        summary="write a dataset",
        description=OPTIMIZE,
        epilog=OPTIMIZE_END,
    )
    write.add_argument("function", metavar="MODULE:FUNCTION")
    write.add_argument("inputs", metavar="INPUTS", help="a folder, a glob, a URL, or @FILE")
    write.add_argument("output", metavar="OUTPUT", help="a new or empty folder, or a URL")
    add_mode(write)
    _add_inputs(write)
    _add_chunks(write)
    _add_work(write)
    _add_samples(write)
    add_encryption(write)
    add_storage_options(write)
    write.add_argument(
        "--take-over",
        action="store_true",
        help="go on with a job in a bucket although another machine, which is gone, is noted there",
    )
    add_json(write)


def _add_work(write: argparse.ArgumentParser) -> None:
    """Who does it."""
    add_workers(write, "processes")
    write.add_argument(
        "--num-nodes",
        type=at_least_one,
        metavar="N",
        help="so many machines of the Ray cluster that this one belongs to; --workers is of each",
    )
    write.add_argument(
        "--shard",
        metavar="I/N",
        help="do shard I, from 0, of N, on as many machines; `millstream commit OUTPUT` publishes",
    )


def _add_samples(write: argparse.ArgumentParser) -> None:
    """What FUNCTION returns, and what becomes of it."""
    write.add_argument(
        "--batched",
        action="store_true",
        help="FUNCTION returns columns of values, as many samples at once",
    )
    write.add_argument(
        "--on-error",
        choices=["raise", "skip"],
        default="raise",
        help="when FUNCTION raises: stop (the default), or go on and list the input",
    )
    write.add_argument(
        "--allow-pickle", action="store_true", help="store values of unknown types by pickle"
    )


def _add_chunks(write: argparse.ArgumentParser) -> None:
    """What goes into a chunk."""
    write.add_argument(
        "--chunk-bytes", metavar="SIZE", help="the most bytes in a chunk: 64MB (the default), 1GiB"
    )
    write.add_argument(
        "--chunk-size", type=int, metavar="N", help="the most samples (or tokens) in a chunk"
    )
    write.add_argument(
        "--compression",
        metavar="HOW",
        help="zstd, zstd:9, zstd:19/chunk: see docs/compression.md",
    )
    write.add_argument(
        "--tokens",
        dest="item_loader",
        action="store_const",
        const=TokensLoader(),
        help="the function gives the tokens of documents: see docs/tokens.md",
    )


def _add_inputs(write: argparse.ArgumentParser) -> None:
    """Which inputs FUNCTION gets, and how."""
    write.add_argument(
        "--batch-size", type=at_least_one, metavar="N", help="give FUNCTION lists of N inputs"
    )
    write.add_argument(
        "--fast-dev-run", type=at_least_one, metavar="N", help="the first N inputs alone, for a try"
    )
    write.add_argument(
        "--input-dir", metavar="URL", help="where inputs that are relative paths lie; with @FILE"
    )


def _optimize(args: argparse.Namespace) -> int:
    fn = import_function(args.function)
    inputs = find_inputs(args.inputs, args.output, storage_options(args))
    note(f"{plural(len(inputs), 'input')}, from {inputs[0]}")
    report = optimize(
        fn,
        inputs,
        args.output,
        chunk_bytes=_number_or_text(args.chunk_bytes),
        chunk_size=args.chunk_size,
        mode=args.mode,
        batch_size=args.batch_size,
        fast_dev_run=args.fast_dev_run or False,
        input_dir=args.input_dir,
        item_loader=args.item_loader,
        compression=args.compression,
        encryption=encryption_asked(args),
        num_workers=args.num_workers,
        num_nodes=args.num_nodes,
        shard=args.shard,
        batched=args.batched,
        on_error=args.on_error,
        allow_pickle=args.allow_pickle,
        storage_options=storage_options(args),
        take_over=args.take_over,
        verbose=False if args.json else None,
    )
    if args.json:
        print_json(asdict(report))
    return 0


def _number_or_text(text: str | None) -> int | str | None:
    return int(text) if text and text.isdigit() else text


def import_function(name: str) -> Callable[[Any], Any]:
    """The function that MODULE:FUNCTION names; raises UsageError, or FunctionError if it fails."""
    module, _, path = name.partition(":")
    if not module or not path:
        raise UsageError(f"{name!r} is not MODULE:FUNCTION, such as prepare:read_photo")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise _import_failed(module, error) from error
        raise UsageError(
            f"there is no module {module!r}, neither in {here} nor among what is installed"
        ) from None
    except Exception as error:  # whatever the user's module does when it is imported
        raise _import_failed(module, error) from error
    for part in path.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        raise UsageError(f"the module {module!r} has no function {path!r}")
    return found  # type: ignore[no-any-return]


def _import_failed(module: str, error: Exception) -> FunctionError:
    trace = "".join(traceback.format_exception(error)).rstrip()
    return FunctionError(
        f"importing {module} raised {type(error).__name__}: {error}. Its traceback:\n{trace}"
    )


def find_inputs(
    given: str, output: str = "", options: Mapping[str, object] | None = None
) -> list[str]:
    """The inputs that a folder, a glob, a URL or @FILE stands for; raises UsageError for none.

    output: a folder or URL whose content is none, if there is one.
    """
    if given.startswith("@"):
        found = [text for text in Path(given[1:]).read_text().splitlines() if text]
    elif service_of(given) is not None:
        found = _objects_below(given, output, options)
    else:
        folder, inside = Path(given), Path(output).absolute() if output else None
        if folder.is_dir():
            paths = _files_below(folder, inside)
        elif folder.is_file():
            paths = iter([folder])
        else:
            # Unlike Path.glob it leaves hidden files out, as a shell does.
            paths = map(Path, glob.iglob(given, recursive=True))  # noqa: PTH207
        found = [
            str(path)
            for path in sorted(paths)
            if path.is_file() and inside not in path.absolute().parents
        ]
    if not found:
        raise UsageError(f"{given} gives no input: expected a folder with files, a glob, or @FILE")
    return found


def _objects_below(url: str, output: str, options: Mapping[str, object] | None) -> list[str]:
    top = url.rstrip("/")
    mine = options_of_place(options, service_of(output), top)
    return [
        f"{folder}/{name}"
        for folder, folders, names in walk(top, storage_options=mine)
        for name in _shown(folder, folders, names, output.rstrip("/"))
    ]


def _shown(folder: str, folders: list[str], names: list[str], output: str) -> list[str]:
    folders[:] = [
        name for name in folders if not name.startswith(".") and f"{folder}/{name}" != output
    ]
    return [name for name in names if not name.startswith(".")]


def _files_below(folder: Path, output: Path | None) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".") and Path(place, name).absolute() != output
        ]
        yield from (Path(place, name) for name in names if not name.startswith("."))
