"""Brings inputs that are URLs to the local disk, while fn is at those before them."""

from __future__ import annotations

import os
import shutil
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, cast

from millstream.errors import MillstreamError
from millstream.store import open_store
from millstream.writing.urls import InputOptions, Url, as_url

# So many inputs are fetched at once by each worker; none is begun while so much lies ready.
AT_ONCE = 4
READY_BYTES = 256_000_000
# The longest name of a file that all file systems take, in bytes.
_LONGEST_NAME = 255


class Group(list[Any]):
    """Inputs that fn gets as one list."""


class NotFetched(Exception):
    """An input that could not be had; cause: what the store said; it gave no sample."""

    def __init__(self, cause: MillstreamError) -> None:
        super().__init__(f"{type(cause).__name__}: {cause}")
        self.cause, self.kept = cause, 0


class FileStore(Protocol):
    """Where URLs lie."""

    def get_file(self, key: str, path: str | os.PathLike[str]) -> None:
        """Writes an object into a file."""


class InputFetcher:
    """Fetches what is a URL; pickles as its options. Threads may share it."""

    def __init__(self, options: InputOptions) -> None:
        self._options = options
        self._stores: dict[str, FileStore] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return InputFetcher, (self._options,)

    @contextmanager
    def open(self, inputs: Sequence[Any], folder: Path) -> Iterator[Iterator[Any]]:
        """These inputs, one after another, as fn gets them. folder: for files, meanwhile."""
        if not any(map(_may_be_url, inputs)):
            yield iter(inputs)
            return
        folder = folder / f"inputs-{os.getpid()}"
        folder.mkdir(exist_ok=True)
        pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="millstream-inputs")
        try:
            yield FetchedInputs(inputs, self, folder, pool)
        finally:
            pool.shutdown(cancel_futures=True)
            shutil.rmtree(folder, ignore_errors=True)

    def fetch_group(self, values: Group, folder: Path) -> list[Any]:
        """The same for each in a list; what is no text stays as it is."""
        folder.mkdir()
        return [
            self.fetch(value, folder / f"{n}") if isinstance(value, str) else value
            for n, value in enumerate(values)
        ]

    def fetch(self, value: str, folder: Path) -> Path | str:
        """The local file of a URL, in a new folder; other text as it is. Raises NotFetched."""
        try:
            url = as_url(value)
            if url is None:
                return value
            folder.mkdir()
            path = folder / file_name(url.name)
            self._store(url).get_file(url.key, path)
        except MillstreamError as error:
            raise NotFetched(error) from None
        return path

    def _store(self, url: Url) -> FileStore:
        if url.place in self._stores:
            return self._stores[url.place]
        store = cast(FileStore, open_store(url.place, self._options.of(url)))
        if "?" in url.place:  # of this object alone
            return store
        return self._stores.setdefault(url.place, store)


class FetchedInputs:
    """Inputs of which some are fetched ahead; each file is gone when the next one is asked for."""

    def __init__(
        self, inputs: Sequence[Any], fetcher: InputFetcher, folder: Path, pool: ThreadPoolExecutor
    ) -> None:
        self._values = iter(inputs)
        urls = [value for value in inputs if _may_be_url(value)]
        self._left = iter([(value, folder / f"{n}") for n, value in enumerate(urls)])
        self._fetcher, self._pool = fetcher, pool
        self._ahead: deque[tuple[Future[Any], Path]] = deque()
        self._used: Path | None = None  # the folder of the file that fn has now

    def __iter__(self) -> FetchedInputs:
        return self

    def __next__(self) -> Any:
        """The next input; a URL as the path of its file. Raises NotFetched, and can then go on."""
        if self._used is not None:
            shutil.rmtree(self._used, ignore_errors=True)
            self._used = None
        value = next(self._values)
        if not _may_be_url(value):
            return value
        self._begin()
        future, self._used = self._ahead.popleft()
        self._begin()
        return _as_text(future.result())

    def _begin(self) -> None:
        """Begins as many fetches as may be under way."""
        while len(self._ahead) < AT_ONCE and self._ready() <= READY_BYTES:
            following = next(self._left, None)
            if following is None:
                return
            value, folder = following
            future: Future[Any]
            if isinstance(value, Group):
                future = self._pool.submit(self._fetcher.fetch_group, value, folder)
            else:
                future = self._pool.submit(self._fetcher.fetch, value, folder)
            self._ahead.append((future, folder))

    def _ready(self) -> int:
        done = [future for future, _ in self._ahead if future.done() and not future.exception()]
        return sum(map(_nbytes, (future.result() for future in done)))


def _may_be_url(value: Any) -> bool:
    if isinstance(value, Group):
        return any(map(_may_be_url, value))
    return isinstance(value, str) and "://" in value


def _as_text(found: Any) -> Any:
    """Local files by their names, also in a list."""
    if isinstance(found, list):
        return [_as_text(one) for one in found]
    return str(found) if isinstance(found, Path) else found


def _nbytes(found: Any) -> int:
    if isinstance(found, list):
        return sum(map(_nbytes, found))
    return found.stat().st_size if isinstance(found, Path) else 0


def file_name(name: str) -> str:
    """A name that every file system takes: a long one loses its middle, not its suffix."""
    content = os.fsencode(name)
    if len(content) <= _LONGEST_NAME:
        return name
    suffix = Path(name).suffix[-20:]
    kept = content[: _LONGEST_NAME - len(os.fsencode(suffix))]
    return kept.decode(errors="ignore") + suffix
