"""What a worker does for map(): run the function into a folder of its own, put files into place."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from millstream.errors import MillstreamError
from millstream.writing.fetch import InputFetcher, NotFetched
from millstream.writing.made import Made, MadeFiles
from millstream.writing.placed import ChunkPlace
from millstream.writing.rows import Raised
from millstream.writing.temporary import Temporary
from millstream.writing.work import input_error

# What the folders of notes begin with, in the output.
NOTES = ".map-"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTask:
    """Run the function for some inputs of task `number`, which are these `indices` of all."""

    number: int
    indices: Sequence[int]
    inputs: Sequence[Any]


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
    """The callable that travels to every worker."""

    fn: Callable[[Any, str], Any]
    fetcher: InputFetcher
    records: ChunkPlace
    files: MadeFiles
    temporary: Temporary
    skip_errors: bool

    def __call__(self, task: RunTask | LandTask) -> Ran | None:
        if isinstance(task, RunTask):
            return self._run(task)
        self.records.record(task.number, task.record)
        self.files.place(task.number, task.made)
        return None

    def _run(self, task: RunTask) -> Ran:
        """What a killed run had finished of the task is not run again."""
        finished = {made.index for made in self.files.kept(task.number, task.indices)}
        pairs = zip(task.indices, task.inputs, strict=True)
        todo = [pair for pair in pairs if pair[0] not in finished]
        failed = []
        with (
            self.temporary.open() as folder,
            self.fetcher.open([value for _, value in todo], folder) as inputs,
        ):
            for index, value in todo:
                try:
                    self._call(task.number, index, next(inputs))
                except (Raised, NotFetched) as error:
                    told = input_error(error, index, value)
                    failed.append(Failed(index=index, said=str(error), error=told))
                    if not self.skip_errors:
                        break
        made = self.files.kept(task.number, task.indices)
        return Ran(made=tuple(made), failed=tuple(failed))

    def _call(self, task: int, index: int, value: Any) -> None:
        with self.files.private() as private:
            try:
                result = self.fn(value, str(private))
                if isinstance(result, Iterator):  # of a generator function, which has not begun
                    for _ in result:
                        pass
                _check_files(private)
            except Exception as error:
                raise Raised(error) from error
            self.files.keep(task, index, private)


def _check_files(folder: Path) -> None:
    for place, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = Path(place, name)
            inside = path.relative_to(folder).as_posix()
            if path.is_symlink() or not (path.is_dir() or path.is_file()):
                raise ValueError(f"{inside} in output_dir is a link or no file; write files")
            if inside.startswith(NOTES):
                raise ValueError(f"{inside}: names that begin with {NOTES} are map's own")
