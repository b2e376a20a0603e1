"""Parquet files to a dataset: each row a sample, each column a field. It needs pyarrow.

FILES is a .parquet file, a folder of such files, or a URL such as s3://bucket/tables, from which
they are fetched while others are read.
"""

import argparse
import math
from collections.abc import Iterator
from typing import Any

import millstream as ms

try:
    import pyarrow as pa
    from pyarrow import parquet
except ModuleNotFoundError:
    raise SystemExit("pyarrow reads Parquet for this example: pip install pyarrow") from None

ROWS = 1_024
MISSING = {pa.string(): "", pa.large_string(): "", pa.float32(): math.nan, pa.float64(): math.nan}


def column(name: str, values: pa.Array) -> Any:
    """The values of a field as optimize(batched=True) takes them: an array, or a list."""
    kind = values.type
    if pa.types.is_dictionary(kind):
        return column(name, values.dictionary_decode())
    if pa.types.is_nested(kind) and not pa.types.is_primitive(getattr(kind, "value_type", kind)):
        return [ms.Json(value) for value in values.to_pylist()]  # structs, lists of text: anything
    if values.null_count:
        # All values of a field have one type: what is missing needs a value of that type.
        if kind not in MISSING:
            raise ValueError(
                f"column {name!r} ({kind}) has empty cells: say in MISSING what they are"
            )
        values = values.fill_null(MISSING[kind])
    if pa.types.is_nested(kind):  # a list of numbers, of any length, is an array
        return [row.values.to_numpy(zero_copy_only=False) for row in values]
    if pa.types.is_temporal(kind):  # as the file counts: milliseconds, or days, since 1970
        return values.view(f"int{kind.bit_width}").to_numpy()
    if pa.types.is_primitive(kind):
        return values.to_numpy(zero_copy_only=False)
    return values.to_pylist()  # text, bytes


def read(path: str) -> Iterator[dict[str, Any]]:
    """So many rows at a time: of a file of any size, a worker holds no more than these."""
    for batch in parquet.ParquetFile(path).iter_batches(batch_size=ROWS):
        yield {name: column(name, batch[name]) for name in batch.schema.names}


def main(files: str, output: str, **options: Any) -> None:
    found = [] if files.endswith(".parquet") else list(ms.walk(files))
    below = [f"{folder}/{name}" for folder, _, names in found for name in names]
    tables = [path for path in below if path.endswith(".parquet")] if found else [files]
    ms.optimize(read, tables, output, batched=True, **options)
    print(ms.StreamingDataset(output))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", metavar="FILES")
    parser.add_argument("output", metavar="OUTPUT", help="a folder, or a URL like s3://bucket/x")
    parser.add_argument("--compression", help='such as "zstd"')
    parser.add_argument("--num-workers", type=int, help="processes; a file is read by one")
    main(**vars(parser.parse_args()))
