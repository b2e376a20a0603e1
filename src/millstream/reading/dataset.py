"""StreamingDataset: a finished dataset as a sequence of samples, or as a stream in order."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import TypeVar, cast

from millstream.cache import default_root
from millstream.encryption import Encryption, check_encryption
from millstream.format.codecs import BlobCodec, as_serializers
from millstream.reading.arguments import (
    as_names,
    check_loader,
    check_order,
    joined_options,
    warn_without_effect,
)
from millstream.reading.choice import Reading
from millstream.reading.decoding import Decode
from millstream.reading.dir import Dir, as_places
from millstream.reading.fetching.client import FetchedStore
from millstream.reading.indexed import Indexed
from millstream.reading.source import Source
from millstream.reading.stream import Stream
from millstream.reading.transforms import Transform, Transforms
from millstream.store import near, open_store
from millstream.tokens import TokensLoader
from millstream.units import parse_size, size_text


class StreamingDataset(Indexed):
    """The samples of a dataset that `optimize` wrote.

    Indexing is random access: `ds[3]`, `ds[-1]`, `ds[10:20]`, `ds[[5, 2]]`. Iterating gives this
    process's share of the next epoch's order: over the ranks of a distributed run, and over the
    workers of a torch DataLoader. Subclasses may override `__getitem__`; iteration and slices
    then go through it.

    Args:
        input_dir: The dataset's folder, which is read where it lies; or a URL (`s3://`, `gs://`,
            `azure://`, `r2://`, `http(s)://`, `hf://`), or `local:/path` for a folder on a network
            drive, which are read through the cache. `Dir(path=, url=)` says both at once.
        item_loader: `TokensLoader(block_size=N)` for a dataset that was written with one: samples
            are then blocks of N tokens, of any documents. Without it they are the documents.
        shuffle: Whether iteration is shuffled. None: not, unless a StreamingDataLoader says so.
        drop_last: Whether the part of an epoch that does not fill a batch on every rank is left
            out. None: if there is more than one rank.
        seed: Of the order, of `subsample`, and of the generators that transforms get.
        subsample: The part of the rows to use: 0.01 for one in a hundred, 2.5 for two copies
            and a half. The same rows for the same seed.
        transform: A function of a sample, or a list of them. One that has a parameter `rng` gets
            a numpy.random.Generator keyed by (seed, epoch, position), or by (seed, row) when
            indexed: the same whoever runs it.
        decode: By field name, what a field becomes: "numpy", "torch", "pil", "bytes", a
            function of the stored bytes, or a JpegDecode, which also crops and resizes. Images as
            "numpy" are uint8 (height, width, channels), as "torch" (channels, height, width); by
            default they are PIL images. See docs/images.md.
        fields: The names of the fields to read, for samples of these fields only; None for all.
            A container's name, `"meta"` of `{"meta": {...}}`, stands for all fields in it.
        version: The number of the version to read; None for the newest.
        encryption: What opens an encrypted dataset, such as `FernetEncryption(password=...)`; see
            docs/encryption.md. A pickled dataset holds the password or key, and so is as secret
            as they are. A wrong one is a CannotDecrypt at the first row that is read.
        storage_options: Credentials and endpoints for a URL, see docs/stores.md. These too are in
            a pickled dataset.
        cache_dir: The folder of the cache, on a local disk; by default one of this user. All
            processes of a machine, and all datasets, may share it.
        max_cache_size: The most bytes in that folder, a number or text such as "50GB". It is
            never exceeded: what does not fit is read without it.
        lanes: How many strands the order has. None: one unshuffled; shuffled 16, or as many as
            there are chunks if fewer, or as there are ranks if more.
        shuffle_window: Rows of a lane that are shuffled together. None: the larger of 65,536
            and 8 mean chunks, or fewer, so that two of every lane fit half of `max_cache_size`.
        allow_pickle: Whether fields written with `allow_pickle=True` may be read. Unpickling can
            run any code: only for data that one trusts.
        verify: Whether checksums are compared on the way.
        serializers: Codecs of one's own, objects of subclasses of `BlobCodec`, as `optimize` had
            them; each reads the fields of its `kind`, a kind of ours too.
        session_options: What LitData gives to a session of boto3, such as `profile_name`; the
            same as in `storage_options`, which win.
        max_pre_download: Without effect: how much is fetched ahead is found by measuring.
        index_path: Without effect: the manifest is found by itself, and `version` chooses one.

    Raises:
        DatasetNotFound, CorruptData, UnsupportedError: For what lies at `input_dir`.
        StorageError: For a place that does not answer or denies access, or a cache folder that
            cannot be used.
        UsageError: For arguments that make no sense.
    """

    def __init__(
        self,
        input_dir: str | os.PathLike[str] | Dir,
        *,
        item_loader: TokensLoader | None = None,
        shuffle: bool | None = None,
        drop_last: bool | None = None,
        seed: int = 42,
        subsample: float = 1.0,
        transform: Transform | Sequence[Transform] | None = None,
        decode: Mapping[str, Decode] | None = None,
        fields: Sequence[str] | None = None,
        version: int | None = None,
        encryption: Encryption | None = None,
        storage_options: Mapping[str, object] | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        max_cache_size: int | str = "100GB",
        lanes: int | None = None,
        shuffle_window: int | None = None,
        allow_pickle: bool = False,
        verify: bool = True,
        serializers: Sequence[BlobCodec] | Mapping[str, BlobCodec] | None = None,
        session_options: Mapping[str, object] | None = None,
        max_pre_download: int | None = None,
        index_path: str | os.PathLike[str] | None = None,
    ) -> None:
        warn_without_effect(max_pre_download=max_pre_download, index_path=index_path)
        check_order(seed, lanes, shuffle_window)
        check_loader(item_loader)
        check_encryption(encryption)
        self.shuffle, self.drop_last, self.seed = shuffle, drop_last, seed
        self._transforms = Transforms(transform)
        cache_bytes = parse_size(max_cache_size, "max_cache_size")
        reading = Reading(
            fields=None if fields is None else as_names(fields),
            decode=dict(decode or {}),
            allow_pickle=allow_pickle,
            verify=verify,
            encryption=encryption,
            item_loader=item_loader,
            serializers=as_serializers(serializers),
        )
        input_dir, cache_dir = as_places(input_dir, cache_dir)
        store = open_store(input_dir, joined_options(storage_options, session_options))
        root = default_root() if cache_dir is None else Path(cache_dir).expanduser()
        here = near(store)
        place = FetchedStore(store, root, cache_bytes) if here is None else here
        self._stream = Stream(
            source=Source(place, version, reading),
            seed=seed,
            subsample=subsample,
            shuffle=bool(shuffle),
            lanes=lanes,
            window=shuffle_window,
            cache_bytes=cache_bytes,
        )
        len(self)  # a subsample that leaves no row is an error now
        super().__init__()

    def __repr__(self) -> str:
        source = cast(Source, self._stream.source)  # which `__init__` made
        manifest, chunks = source.manifest, len(source.manifest.chunks)
        fields = ", ".join(f"{field.name}: {field}" for field in source.fields)
        return (
            f"{type(self).__name__}({str(source.place)!r}, {len(self):,} samples, "
            f"{size_text(manifest.nbytes)} in {chunks:,} {'chunk' if chunks == 1 else 'chunks'}, "
            f"version {manifest.version}, fields {{{fields}}})"
        )


# For the loader, and not for users of a dataset ----------------------------------------------

DatasetT = TypeVar("DatasetT", bound=Indexed)


def stream_of(dataset: Indexed) -> Stream:
    """The rows of a dataset and their orders."""
    return dataset._stream


def with_stream(dataset: DatasetT, stream: Stream) -> DatasetT:
    """A dataset like this one in all else, before its first epoch, over other rows."""
    other = copy(dataset)
    other._stream, other._epoch = stream, 0
    return other
