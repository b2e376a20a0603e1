"""StreamingRawDataset: files as they are, as a sequence of samples or as a stream in order."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, cast

from millstream.cache import default_root
from millstream.errors import DatasetNotFound, UsageError
from millstream.reading.arguments import check_order
from millstream.reading.decoding import Decode
from millstream.reading.fetching.client import FetchedStore
from millstream.reading.indexed import Indexed
from millstream.reading.raw.files import Files
from millstream.reading.raw.items import FileMetadata, Grouped, Items, items_of
from millstream.reading.raw.listing import list_files
from millstream.reading.raw.source import FileSource, Place
from millstream.reading.stream import Stream
from millstream.reading.transforms import Transform, Transforms
from millstream.store import LocalStore, ObjectInfo, Store, near, open_store
from millstream.units import parse_size, size_text


class Indexer(Protocol):
    """Finds files in another way than by listing their place."""

    def discover_files(
        self, input_dir: str, storage_options: Mapping[str, object] | None
    ) -> Sequence[FileMetadata]:
        """The files, with paths below `input_dir`."""


class StreamingRawDataset(Indexed):
    """The files below a folder or a prefix as samples, as they are: nothing is written beforehand.

    A sample is the bytes of a file, or a list of these where `setup` makes groups. Indexing,
    iteration, order, shuffling, loaders and states are those of a StreamingDataset.

    Files are listed when the dataset is made, in the order of their paths. Files and folders whose
    names begin with a dot are left out, and so are the empty objects that stand for folders. A file
    that has changed since it was listed is an error when it is read. A state names what was listed,
    and is refused where something else is; copies at another place are the same files.

    Args:
        input_dir: A folder, whose files are read where they lie; or the URL of a bucket or of a
            dataset repository, or `local:/path`, whose files are read through the cache.
        cache_dir: The folder of the cache, on a local disk; by default one of this user.
        indexer: Finds the files in place of a listing, for places without one, such as web servers:
            has `discover_files(input_dir, storage_options)`, which returns FileMetadata.
        storage_options: Credentials and endpoints for a URL, see docs/stores.md.
        cache_files: Whether what is far away goes through the cache, and is there in the next
            epoch. False: it is fetched anew whenever it is read, into up to 256 MB of memory ahead.
        recompute_index: False has no effect: files are listed each time.
        transform: A function of a sample, or a list of them, that may have a parameter `rng`: as
            for StreamingDataset.
        shuffle: Whether iteration is shuffled. None: not, unless a StreamingDataLoader says so.
        drop_last: Whether the part of an epoch that does not fill a batch on every rank is left
            out. None: if there is more than one rank.
        seed: Of the order, of `subsample`, and of the generators that transforms get.
        subsample: The part of the files to use: 0.01 for one in a hundred, 2.5 for two copies
            and a half.
        max_cache_size: The most bytes in the cache's folder, a number or text such as "50GB".
        lanes: How many strands the order has. None: one unshuffled; shuffled 16, or as many as
            there are ranks if more.
        decode: What the bytes of a file become: "bytes", "numpy", a function of them, or a
            JpegDecode. For groups of one size a list, with None for bytes.
        shuffle_window: Samples of a lane that are shuffled together. None: all of them, since a
            file is fetched by itself whatever comes before it.

    Raises:
        DatasetNotFound: There is no such folder.
        UsageError: There are no files, or arguments that make no sense.
        UnsupportedError: The place cannot be listed.
        StorageError: For a place that does not answer or denies access.
    """

    def __init__(
        self,
        input_dir: str | os.PathLike[str],
        cache_dir: str | os.PathLike[str] | None = None,
        indexer: Indexer | None = None,
        storage_options: Mapping[str, object] | None = None,
        cache_files: bool = True,
        recompute_index: bool | None = None,
        transform: Transform | Sequence[Transform] | None = None,
        *,
        shuffle: bool | None = None,
        drop_last: bool | None = None,
        seed: int = 42,
        subsample: float = 1.0,
        decode: Decode | Sequence[Decode | None] | None = None,
        max_cache_size: int | str = "100GB",
        lanes: int | None = None,
        shuffle_window: int | None = None,
    ) -> None:
        check_order(seed, lanes, shuffle_window)
        if recompute_index is False:
            warnings.warn(
                "recompute_index=False has no effect: files are listed when a dataset is made",
                stacklevel=2,
            )
        self.shuffle, self.drop_last, self.seed = shuffle, drop_last, seed
        self._transforms = Transforms(transform)
        cache_bytes = parse_size(max_cache_size, "max_cache_size")
        store = open_store(input_dir, storage_options)
        root = default_root() if cache_dir is None else Path(cache_dir).expanduser()
        place: Place = FetchedStore(store, root, cache_bytes) if near(store) is None else store
        if indexer is None:
            files = _listed(store, place)
        else:
            found = indexer.discover_files(os.fspath(input_dir), storage_options)
            files = _indexed(store, found)
        setup = None if type(self).setup is StreamingRawDataset.setup else self.setup
        items = items_of(str(store), files, setup)
        self._stream = Stream(
            source=FileSource(place, items, _decoders(items, decode), in_memory=not cache_files),
            seed=seed,
            subsample=subsample,
            shuffle=bool(shuffle),
            lanes=lanes,
            window=shuffle_window or len(items),
            cache_bytes=cache_bytes,
        )
        len(self)  # a subsample that leaves no sample is an error now
        super().__init__()

    def setup(self, files: list[FileMetadata]) -> Grouped:
        """For subclasses: the files that are samples, in order, or lists of those that are one.

        files: all, sorted by path. It is called once, when the dataset is made, and must depend on
        nothing else if all ranks are to see the same samples. UsageError for other files.
        """
        return files

    def __repr__(self) -> str:
        source = cast(FileSource, self._stream.source)  # which `__init__` made
        return (
            f"{type(self).__name__}({str(source.place)!r}, {len(self):,} samples, "
            f"{size_text(source.nbytes)} in {source.files:,} "
            f"{'file' if source.files == 1 else 'files'})"
        )


def _listed(store: Store, place: Place) -> Files:
    if isinstance(store, LocalStore) and not store.root.is_dir():
        raise DatasetNotFound(f"{store} is not a folder; check the path")
    files = place.files() if isinstance(place, FetchedStore) else list_files(place)
    if not len(files):
        raise UsageError(
            f"there are no files below {store}, but perhaps hidden ones; check the path"
        )
    return files


def _indexed(store: Store, found: Sequence[FileMetadata]) -> Files:
    """The files that an indexer has found, sorted by key."""
    top = f"{str(store).rstrip('/')}/"
    if not found:
        raise UsageError(f"the indexer found no files below {store}")
    infos = []
    for file in found:
        path = os.fspath(file.path)
        if not path.startswith(top) and ("://" in path or path.startswith("/")):
            raise UsageError(f"the indexer found {path}, which does not lie below {top}")
        key = path.removeprefix(top)
        infos.append(ObjectInfo(key=key, size=int(file.size), modified=0.0))
    return Files.of(sorted(infos, key=lambda info: info.key))


def _decoders(
    items: Items, decode: Decode | Sequence[Decode | None] | None
) -> tuple[Decode | None, ...] | None:
    """What each file of a sample becomes; None if samples are of different numbers of files."""
    if items.width is None:
        if decode is not None:
            raise UsageError(
                "decode is for samples of one number of files, and setup() returned lists of "
                "different lengths: decode in a transform"
            )
        return None
    if decode is None or isinstance(decode, str) or not isinstance(decode, Sequence):
        return (decode,) * items.width
    if items.ends is None or len(decode) != items.width:
        raise UsageError(
            f"decode says what {len(decode)} files of a sample become; a sample has "
            f"{'one' if items.ends is None else items.width}"
        )
    return tuple(decode)
