"""A dataset behind a store whose requests are counted, and readers of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import millstream as ms
from millstream.cache import Cache
from millstream.format import ChunkTable, bind, builtin
from millstream.format.codecs import ArrayCodec
from millstream.reading.cached import CachedChunks
from millstream.reading.chunks import MappedChunks
from millstream.reading.fetching.asks import Filled, Presence, Wanted
from millstream.reading.reader import Chunks, Reader, Values
from millstream.store import LocalStore
from millstream.versions import load_version


@dataclass
class CountingStore:
    """What was asked for: (key, start, stop)."""

    store: LocalStore
    requests: list[tuple[str, int, int]] = field(default_factory=list)

    def get(self, key: str, span: tuple[int, int] | None = None) -> bytes:
        assert span is not None  # a chunk may be larger than memory
        self.requests.append((key, *span))
        return self.store.get(key, span)

    @property
    def nbytes(self) -> int:
        return sum(stop - start for _, start, stop in self.requests)


@dataclass
class Direct:
    """A Remote without a process: fills the cache here, piece by piece."""

    store: CountingStore
    cache: Cache

    def ranges(self, asks: Any) -> list[list[bytes]]:
        return [[self.store.get(one.key, span) for span in spans] for one, spans in asks]

    def fill(self, asks: Any) -> Filled:
        return Filled(presence=[self._fill(wanted) for wanted, _ in asks])

    def _fill(self, wanted: Wanted) -> Presence:
        size = wanted.size

        def pieces() -> Iterator[bytes]:
            for start in range(0, size, 3_000):
                yield self.store.get(wanted.key, (start, min(start + 3_000, size)))

        lease = self.cache.lease(wanted.name, size, pieces)
        if lease is not None:
            lease.close()
        return Presence.NONE if lease is None else Presence.WHOLE

    def __str__(self) -> str:
        return str(self.store.store)


class Dataset:
    """One that `optimize` writes to a folder, and readers of it."""

    def __init__(self, folder: Path, samples: list[Any], **options: Any) -> None:
        ms.optimize(
            samples.__getitem__,
            range(len(samples)),
            folder,
            num_workers=0,
            verbose=False,
            **({"chunk_bytes": "4KB"} | options),
        )
        self.local = LocalStore(folder)
        self.store = CountingStore(self.local)
        manifest = load_version(self.local).manifest
        self.table: ChunkTable = manifest.chunks
        self.rows = manifest.rows
        codecs = bind(manifest.schema, builtin())
        self.dtypes = [
            codec.storage(f.dtype) if isinstance(codec, ArrayCodec) else None
            for f, codec in zip(manifest.schema.fields, codecs, strict=True)
        ]
        self.fields = range(len(codecs))

    def chunks(self, cache: Cache, *, verify: bool = True) -> CachedChunks:
        return CachedChunks(Direct(self.store, cache), self.table, cache, verify=verify)

    def file(self, chunk: int) -> Path:
        return self.local.path(f"chunks/{self.table.name(chunk)}")

    def read(self, chunks: Chunks, rows: list[int], fields: Any = None) -> list[Any]:
        """The rows of each field, in a form that can be compared."""
        reader = Reader(chunks, self.table, self.dtypes)
        wanted = self.fields if fields is None else fields
        found, taken = reader.read(np.array(rows, np.int64), wanted)
        assert taken.tolist() == rows
        return list(map(_plain, found))

    def expected(self, rows: list[int], fields: Any = None) -> list[Any]:
        return self.read(MappedChunks(self.local, self.table, verify=True), rows, fields)


def _plain(values: Values) -> Any:
    if isinstance(values, np.ndarray):
        return values.dtype, values.shape, values.tobytes()
    return [_plain(v) if isinstance(v, np.ndarray) else bytes(v) for v in values]
