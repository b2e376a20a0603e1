"""`get`: one sample."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from millstream.cli import values
from millstream.cli.arguments import add_command, add_json, add_place, open_given, storage_options
from millstream.cli.secrets import add_key, encryption_of
from millstream.cli.show import dtype_text, note, print_json, table
from millstream.cli.values import Leaf
from millstream.errors import UsageError
from millstream.format import Codec, Manifest, Schema, bind, builtin, rebuilder
from millstream.format.codecs import BlobCodec
from millstream.format.tree import flattener
from millstream.reading.dataset import StreamingDataset
from millstream.store import Store
from millstream.units import size_text
from millstream.versions import load_version

if TYPE_CHECKING:
    from millstream.cli.arguments import Commands

GET = """\
Prints one sample: a line for each field, long values shortened, arrays by shape and first values,
images by mode and size. What it reads is checked against its checksums.

Rows are counted from 0; -1 is the last.
"""
GET_END = """\
--output writes the stored bytes of a field: a JPEG comes out as the very file that went in, text
as UTF-8, arrays as .npy. Images that were stored as pixels become a file of the format that the
name ends with, PNG for `-`.

examples:
  millstream get data/photos 17
  millstream get data/photos -1 --field meta.title
  millstream get data/photos 17 --field image --output photo.jpg
  millstream get data/photos 17 --field image --output - | display
  millstream get data/secret 17 --password-file ~/.secret

exit codes: 0 done; 1 there is no such row, or its bytes are damaged; 2 there is no such field.
"""


def add_commands(commands: Commands) -> None:
    """Declares it."""
    get = add_command(
        commands, "get", _get, summary="print one sample", description=GET, epilog=GET_END
    )
    add_place(get, version=True)
    get.add_argument("row", type=int, metavar="ROW", help="its number, from 0; -1 is the last")
    get.add_argument("--field", metavar="NAME", help="print this field alone, in full")
    get.add_argument("--output", metavar="FILE", help="write the field to a file; - is stdout")
    get.add_argument(
        "--allow-pickle",
        action="store_true",
        help="open pickled values: that can run any code, so only for data that you trust",
    )
    add_key(get, "the private key of rsa, as PEM, or a key file that `save` wrote")
    add_json(get)


def _get(args: argparse.Namespace) -> int:
    sample = _Sample(args)
    if args.output is not None:
        _write(sample.one(args.field), args.output)
        return 0
    if args.field is not None:
        leaf = sample.one(args.field)
        if args.json:
            print_json({**sample.place(), "field": leaf.field.name, "value": values.as_json(leaf)})
        else:
            print(values.whole(leaf))
    elif args.json:
        print_json({**sample.place(), "sample": sample.structure()})
    else:
        print("\n".join(sample.lines()))
    return 0


def open_stored(
    args: argparse.Namespace, store: Store, manifest: Manifest, **options: Any
) -> StreamingDataset:
    """The dataset with its fields as they are stored: arrays, or the payloads' bytes."""
    schema = manifest.schema
    decode: dict[str, Any] = {
        field.name: "bytes" if isinstance(codec, BlobCodec) else "numpy"
        for field, codec in zip(schema.fields, _codecs(schema), strict=True)
    }
    return StreamingDataset(
        args.place,
        storage_options=storage_options(args),
        encryption=encryption_of(args, store, manifest),
        decode=decode,
        allow_pickle=True,  # nothing is unpickled: decoded to bytes, a pickle stays closed
        **options,
    )


def leaves_of(schema: Schema, sample: Any, *, opens_pickles: bool) -> list[Leaf]:
    """The fields of a sample of such a dataset."""
    stored: list[Any] = []
    flattener(schema.tree)(sample, stored)
    return [
        Leaf(field=field, codec=codec, stored=value, opens_pickles=opens_pickles)
        for field, codec, value in zip(schema.fields, _codecs(schema), stored, strict=True)
    ]


def _codecs(schema: Schema) -> Sequence[Codec]:
    names = [field.name for field in schema.fields]
    return bind(schema, builtin(allow_pickle=True), closed=names)


class _Sample:
    """A row that was asked for; its fields are read as they are stored."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._store = open_given(args)
        manifest = load_version(self._store, args.version).manifest
        self._manifest, self._schema = manifest, manifest.schema
        dataset = open_stored(args, self._store, manifest, version=manifest.version)
        self._row = args.row + (manifest.rows if args.row < 0 else 0)
        self._leaves = leaves_of(self._schema, dataset[args.row], opens_pickles=args.allow_pickle)

    def one(self, name: str | None) -> Leaf:
        """The field of a name, or the only one; raises UsageError."""
        found = [leaf for leaf in self._leaves if name in (None, leaf.field.name)]
        if len(found) == 1:
            return found[0]
        names = ", ".join(leaf.field.name for leaf in self._leaves)
        if name is None:
            raise UsageError(f"--output writes one field; choose it with --field, of: {names}")
        raise UsageError(f"there is no field {name!r}; the fields are: {names}")

    def place(self) -> dict[str, object]:
        """Where the row lies."""
        version = self._manifest.version
        return {"place": str(self._store), "version": version, "row": self._row}

    def structure(self) -> object:
        """The sample as JSON."""
        leaves = list(map(values.as_json, self._leaves))
        return values.plain(rebuilder(self._schema.tree)(leaves))

    def lines(self) -> list[str]:
        """The sample for a person."""
        manifest = self._manifest
        title = f"row {self._row:,} of {manifest.rows:,}, version {manifest.version}"
        rows = [[leaf.field.name, _kind(leaf), values.line(leaf)] for leaf in self._leaves]
        return [title, "", *table(["FIELD", "KIND", "VALUE"], rows)]


def _kind(leaf: Leaf) -> str:
    return f"{leaf.field.kind} {dtype_text(leaf.field.dtype)}".rstrip()


def _write(leaf: Leaf, output: str) -> None:
    content = values.file_bytes(leaf, "" if output == "-" else output)
    if output == "-":
        sys.stdout.buffer.write(content)
        return
    Path(output).write_bytes(content)
    note(f"{output}: {leaf.field.name}, {size_text(len(content))}")
