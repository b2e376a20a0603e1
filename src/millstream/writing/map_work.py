"""What a worker does for map(): run the function into a folder of its own, put files into place.

segments/000000012/      what fn wrote for input 12, whole; it has this name once fn is done
temporary/RUN/...        what fn is writing
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from millstream.errors import MillstreamError
from millstream.store import LocalStore, Store
from millstream.store.local import storage_errors
from millstream.writing.fetch import InputFetcher, NotFetched
from millstream.writing.placed import ChunkPlace
from millstream.writing.rows import Raised
from millstream.writing.work import input_error

# What the folders of notes begin with, in the output.
NOTES = ".map-"
# Files of a task that are put into their places at once.
AT_ONCE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTask:
    """Run the function for some inputs. indices: of all inputs, which these are."""

    indices: Sequence[int]
    inputs: Sequence[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """The files of one input, as names below the output with slashes, and their sizes."""

    index: int
    files: tuple[tuple[str, int], ...]

    @property
    def nbytes(self) -> int:
        """Of all files."""
        return sum(size for _, size in self.files)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """An input whose function raised. said: in one line; error: to be raised."""

    index: int
    said: str
    error: MillstreamError


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """How a task went. Without on_error="skip" it ends with the first that failed."""

    made: tuple[Made, ...]
    failed: tuple[Failed, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LandTask:
    """Put the files of some inputs into their places.

    record: says, as task `number`, which files these and earlier ones of the task are. It is
    written first: so a run that is killed leaves no file that nobody knows to be of this job.
    """

    number: int
    record: bytes
    made: tuple[Made, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MapWork:
    """The callable that travels to every worker. segments, temporary: of the run's scratch."""

    fn: Callable[[Any, str], Any]
    fetcher: InputFetcher
    store: Store
    records: ChunkPlace
    segments: Path
    temporary: Path
    skip_errors: bool

    def __call__(self, task: RunTask | LandTask) -> Ran | None:
        if isinstance(task, RunTask):
            return self._run(task)
        self._land(task)
        return None

    def _run(self, task: RunTask) -> Ran:
        """What a killed run had finished of the task is not run again."""
        pairs = list(zip(task.indices, task.inputs, strict=True))
        finished = [index for index, _ in pairs if self._folder(index).is_dir()]
        todo = [pair for pair in pairs if pair[0] not in finished]
        failed = []
        with self.fetcher.open([value for _, value in todo], self.temporary) as inputs:
            for index, value in todo:
                try:
                    self._call(index, next(inputs))
                except (Raised, NotFetched) as error:
                    told = input_error(error, index, value)
                    failed.append(Failed(index=index, said=str(error), error=told))
                    if not self.skip_errors:
                        break
                else:
                    finished.append(index)
        made = tuple(
            Made(index=index, files=tuple(_files(self._folder(index)))) for index in finished
        )
        return Ran(made=made, failed=tuple(failed))

    def _folder(self, index: int) -> Path:
        return self.segments / f"{index:09}"

    def _call(self, index: int, value: Any) -> None:
        private = self.temporary / f"output-{index}-{os.getpid()}"
        with storage_errors(private):
            private.mkdir()
        try:
            result = self.fn(value, str(private))
            if isinstance(result, Iterator):  # of a generator function, which has not begun
                for _ in result:
                    pass
            _check_files(private)
        except Exception as error:
            shutil.rmtree(private, ignore_errors=True)
            raise Raised(error) from error
        with storage_errors(private):
            private.rename(self._folder(index))

    def _land(self, task: LandTask) -> None:
        self.records.record(task.number, task.record)
        # After a worker's death some of it may be in its place.
        left = [made for made in task.made if self._folder(made.index).is_dir()]
        files = [(self._folder(made.index) / name, name) for made in left for name, _ in made.files]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(lambda file: _place(self.store, *file), files))
        for made in left:
            gone = self.temporary / f"gone-{made.index}-{os.getpid()}"
            with storage_errors(gone):  # in one step: what is half removed must not look whole
                self._folder(made.index).rename(gone)
            shutil.rmtree(gone, ignore_errors=True)


def _place(store: Store, path: Path, name: str) -> None:
    if not (isinstance(store, LocalStore) and store.link(path, name, sync=False)):
        store.put_file(name, path)


def _files(folder: Path) -> Iterator[tuple[str, int]]:
    for place, _, names in os.walk(folder):
        for name in sorted(names):
            path = Path(place, name)
            yield path.relative_to(folder).as_posix(), path.stat().st_size


def _check_files(folder: Path) -> None:
    for place, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = Path(place, name)
            inside = path.relative_to(folder).as_posix()
            if path.is_symlink() or not (path.is_dir() or path.is_file()):
                raise ValueError(f"{inside} in output_dir is a link or no file; write files")
            if inside.startswith(NOTES):
                raise ValueError(f"{inside}: names that begin with {NOTES} are map's own")
