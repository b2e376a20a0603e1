"""Dir: a dataset far away together with the folder of its cache, as LitData has it."""

from __future__ import annotations

import os
from dataclasses import dataclass

from millstream.errors import UsageError

PathText = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class Dir:
    """Where a dataset lies, and where its cache does: for `StreamingDataset(input_dir=Dir(...))`.

    Args:
        path: The folder of the cache; without a url, the dataset's own folder.
        url: The dataset's.

    Raises:
        UsageError: For neither.
    """

    path: PathText | None = None
    url: str | None = None

    def __post_init__(self) -> None:
        if self.path is None and self.url is None:
            raise UsageError("Dir() names no place: give url=, and path= for a folder of the cache")


def as_places(
    input_dir: PathText | Dir, cache_dir: PathText | None
) -> tuple[PathText, PathText | None]:
    """The dataset's place, and the folder of its cache (None for the usual one)."""
    if not isinstance(input_dir, Dir):
        return input_dir, cache_dir
    if input_dir.url is None:
        return input_dir.path or "", cache_dir
    if input_dir.path is None:
        return input_dir.url, cache_dir
    if cache_dir is not None:
        raise UsageError(
            f"the cache is given twice: {os.fspath(input_dir.path)} by Dir(path=...), "
            f"{os.fspath(cache_dir)} by cache_dir; leave one out"
        )
    return input_dir.url, input_dir.path
