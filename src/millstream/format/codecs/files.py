"""Values that are files: a sample names the file, the dataset holds its bytes.

A file that is an input of its job is not read before the chunk that holds it is built, and then
straight into it; any other file is read at once. Text is never taken for a path.
"""

from __future__ import annotations

import builtins
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from millstream.errors import SampleError
from millstream.format.codecs.codec import Source

PathText = str | os.PathLike[str]

# The first bytes of the image files that a dataset can hold, by what Pillow calls them.
_STARTS = {
    "JPEG": (b"\xff\xd8\xff",),
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "TIFF": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
}


@dataclass(frozen=True, slots=True)
class File:
    """A whole file as a value of a sample; it is stored, and read back, as bytes.

    Raises OSError if there is no such file, SampleError if it is a folder or a device.
    """

    path: PathText
    source: Source = field(init=False, repr=False)

    def __post_init__(self) -> None:
        state = os.stat(self.path)  # noqa: PTH116 - many thousands a second: a Path each is slow
        if not stat.S_ISREG(state.st_mode):
            raise SampleError(f"{self.path} is no regular file, and File holds what is in one")
        object.__setattr__(self, "source", source_of(self.path, state))


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A JPEG, PNG or TIFF file as a value of a sample, by its path or its bytes.

    It is stored as it is, and read back like an image opened by Pillow; that is not needed to
    write it. Only the first bytes are looked at. container: what it is, as Pillow calls it. Raises
    SampleError if it is none of these, and OSError if it cannot be opened.
    """

    path: PathText | None = None
    bytes: builtins.bytes | None = field(default=None, repr=False)
    source: Source | None = field(init=False, repr=False)
    container: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if (self.path is None) == (self.bytes is None):
            raise SampleError(f"{type(self).__name__} takes either path= or bytes=, one of them")
        start, source = self.bytes or b"", None
        if self.path is not None:
            start, source = _look_into(self.path)
        object.__setattr__(self, "source", source)
        object.__setattr__(self, "container", self._container(start))

    def _container(self, start: builtins.bytes) -> str:
        for container, starts in _STARTS.items():
            if start.startswith(starts):
                return container
        raise SampleError(f"{self._named()} is neither a JPEG nor a PNG nor a TIFF file")

    def _named(self) -> str:
        return "what these bytes hold" if self.path is None else str(self.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Jpeg(Image):
    """An `Image` that has to be a JPEG file; anything else raises SampleError."""

    def _container(self, start: builtins.bytes) -> str:
        if not start.startswith(_STARTS["JPEG"]):
            raise SampleError(
                f"{self._named()} is not a JPEG file; use Image, or File for any file"
            )
        return "JPEG"


def _look_into(path: PathText) -> tuple[bytes, Source]:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, 8), source_of(path, os.fstat(descriptor))
    finally:
        os.close(descriptor)


def source_of(path: PathText, state: os.stat_result) -> Source:
    """A file in a state that it was seen in."""
    return Source(absolute(path), state.st_size, state.st_mtime_ns)


def absolute(path: PathText) -> str:
    """A path that means the same in another process."""
    text = os.fspath(path)
    return text if text.startswith(os.sep) else os.path.abspath(text)  # noqa: PTH100 - a Path is slow


def file_bytes(source: Source) -> bytes:
    """The content of a file; raises SampleError if it cannot be read any more."""
    try:
        return Path(source.path).read_bytes()
    except OSError as error:
        raise SampleError(f"the file {source.path} cannot be read: {error}") from None
