"""`ls`: the chunks of a version."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import numpy as np

from millstream.cli.arguments import add_command, add_json, add_place, open_given
from millstream.cli.show import print_json, table
from millstream.units import size_text
from millstream.versions import load_version

if TYPE_CHECKING:
    from millstream.cli.arguments import Commands

LS = "Lists the chunks of a version in the order of their rows, which are counted from 0."
LS_END = """\
A chunk is the file chunks/DIGEST, where DIGEST is the BLAKE3 digest of its bytes.

examples:
  millstream ls data/photos
  millstream ls data/photos --full | grep 3f2a91c0     which rows are in this chunk?

exit codes: 0 done; 1 there is no such dataset or version, or its manifest is damaged.
"""


def add_commands(commands: Commands) -> None:
    """Declares it."""
    ls = add_command(
        commands, "ls", _ls, summary="the chunks of a version", description=LS, epilog=LS_END
    )
    add_place(ls, version=True)
    ls.add_argument("--full", action="store_true", help="print digests in full")
    add_json(ls)


def _ls(args: argparse.Namespace) -> int:
    store = open_given(args)
    manifest = load_version(store, args.version).manifest
    chunks = manifest.chunks
    ends = np.cumsum(chunks.rows, dtype=np.int64)
    columns = {"first": ends - chunks.rows, "last": ends - 1, "rows": chunks.rows}
    if chunks.tokens is not None:
        columns["tokens"] = chunks.tokens
    columns["bytes"] = chunks.sizes
    listed = list(zip(*[column.tolist() for column in columns.values()], strict=True))
    if args.json:
        entries = [
            {"chunk": n, **dict(zip(columns, row, strict=True)), "digest": chunks.name(n)}
            for n, row in enumerate(listed)
        ]
        print_json({"place": str(store), "version": manifest.version, "chunks": entries})
        return 0
    length = 64 if args.full else 12
    titles = [name.upper() for name in columns if name != "bytes"]
    lines = table(
        ["CHUNK", *titles, "SIZE", "DIGEST"],
        [
            [f"{n}", *[f"{count:,}" for count in counts], size_text(size), chunks.name(n)[:length]]
            for n, (*counts, size) in enumerate(listed)
        ],
        right="CHUNK FIRST LAST ROWS TOKENS SIZE",
    )
    print("\n".join(lines))
    return 0
