"""How large a version's fields are, without reading its rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt

from millstream.format import ChunkView, Manifest, bind, builtin
from millstream.format.codecs import ArrayCodec
from millstream.format.keys import chunk_key
from millstream.store import NearStore

SAMPLE_ROWS = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanSize:
    """The mean bytes of a field's values. exact: whether every row was counted."""

    nbytes: float
    exact: bool


def mean_sizes(store: NearStore, manifest: Manifest) -> list[MeanSize]:
    """The mean size of each field: known for arrays of one shape, measured for the others.

    Measured means at up to 512 rows, evenly spread; of these only lengths are read. Raises
    CorruptData or OSError for a chunk that is not as it should be.
    """
    dtypes = _dtypes(manifest)
    known = known_sizes(manifest)
    unknown = [number for number, size in enumerate(known) if size is None]
    rows = spread(manifest.rows, SAMPLE_ROWS)
    sums = dict.fromkeys(unknown, 0)
    for view, row in _places(store, manifest, rows) if unknown else ():
        for number in unknown:
            sums[number] += _size(view, number, row, dtypes[number])
    whole = len(rows) == manifest.rows
    measured = {n: MeanSize(nbytes=s / max(len(rows), 1), exact=whole) for n, s in sums.items()}
    return [size or measured[number] for number, size in enumerate(known)]


def known_sizes(manifest: Manifest) -> list[MeanSize | None]:
    """The sizes that are known without looking: of arrays that all have one shape, of tokens."""
    dtypes = _dtypes(manifest)
    if manifest.tokens is not None and len(dtypes) == 1 and (dtype := dtypes[0]) is not None:
        mean = manifest.tokens * dtype.itemsize / max(manifest.rows, 1)
        return [MeanSize(nbytes=mean, exact=True)]
    return [
        MeanSize(nbytes=float(dtype.itemsize * prod(field.shape)), exact=True)
        if dtype is not None and field.shape is not None
        else None
        for field, dtype in zip(manifest.schema.fields, dtypes, strict=True)
    ]


def spread(rows: int, most: int) -> npt.NDArray[np.int64]:
    """Up to so many row numbers, evenly spread from the first to the last."""
    return np.unique(np.linspace(0, rows - 1, min(rows, most)).astype(np.int64))


def _dtypes(manifest: Manifest) -> Sequence[np.dtype[np.generic] | None]:
    # To know how long a pickled value is nothing is unpickled.
    fields = manifest.schema.fields
    names = [field.name for field in fields]
    codecs = bind(manifest.schema, builtin(allow_pickle=True), closed=names)
    return [
        codec.storage(field.dtype) if isinstance(codec, ArrayCodec) else None
        for field, codec in zip(fields, codecs, strict=True)
    ]


def _places(
    store: NearStore, manifest: Manifest, rows: npt.NDArray[np.int64]
) -> Iterator[tuple[ChunkView, int]]:
    ends = np.cumsum(manifest.chunks.rows, dtype=np.int64)
    chunks = np.searchsorted(ends, rows, side="right")
    for chunk in np.unique(chunks).tolist():
        name = manifest.chunks.name(chunk)
        # verify=False: a checksum would read the whole blob.
        view = ChunkView(store.map(chunk_key(name)), name, verify=False)
        start = int(ends[chunk]) - int(manifest.chunks.rows[chunk])
        for row in (rows[chunks == chunk] - start).tolist():
            yield view, row


def _size(view: ChunkView, field: int, row: int, dtype: np.dtype[np.generic] | None) -> int:
    if (shape := view.shape(field)) is not None and dtype is not None:
        return dtype.itemsize * prod(shape)
    return len(view.payload(field, row)) if dtype is None else view.array(field, row, dtype).nbytes
