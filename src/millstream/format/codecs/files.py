"""Values that are files: a sample names the file, the dataset holds its bytes.

A file that is an input of its job is not read before the chunk that holds it is built, and then
straight into it; any other file is read at once. Text is never taken for a path.
"""

from __future__ import annotations

import builtins
import os
import stat
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from millstream.errors import SampleError
from millstream.format.codecs.codec import Source
from millstream.format.codecs.recoding import PIXELS, check_knobs, check_pixels, jpeg_of

PathText = str | os.PathLike[str]

# The first bytes of the image files that a dataset can hold, by what Pillow calls them.
_STARTS = {
    "JPEG": (b"\xff\xd8\xff",),
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "TIFF": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
}
# What is looked at to tell one format of files from another.
START_BYTES = 192


@dataclass(frozen=True, slots=True)
class File:
    """A whole file as a value of a sample; it is stored, and read back, as bytes.

    Args:
        path: Of the file. It is read when its chunk is built, if it is among the inputs of the job.

    Raises:
        OSError: There is no such file.
        SampleError: It is a folder or a device.
    """

    path: PathText
    source: Source = field(init=False, repr=False)

    def __post_init__(self) -> None:
        state = os.stat(self.path)  # noqa: PTH116 - many thousands a second: a Path each is slow
        if not stat.S_ISREG(state.st_mode):
            raise SampleError(f"{self.path} is no regular file, and File holds what is in one")
        object.__setattr__(self, "source", source_of(self.path, state))


@dataclass(frozen=True, slots=True, eq=False)
class KnownFile(ABC):
    """A file of a format that is told from its first bytes, by its path or by its bytes.

    source: the file, as long as its bytes are not here. container: its format.
    """

    path: PathText | None = None
    bytes: builtins.bytes | None = field(default=None, repr=False, kw_only=True)
    source: Source | None = field(init=False, repr=False)
    container: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if isinstance(self.path, builtins.bytes):
            raise SampleError(f"{type(self).__name__} was given bytes for a path; say bytes=")
        if (self.path is None) == (self.bytes is None):
            raise SampleError(f"{type(self).__name__} takes either path= or bytes=, one of them")
        start, source = self.bytes or b"", None
        if self.path is not None:
            start, source = _look_into(self.path)
        object.__setattr__(self, "source", source)
        object.__setattr__(self, "container", self._container(start))

    @abstractmethod
    def _container(self, start: builtins.bytes) -> str:
        """The format of a file that starts like this; raises SampleError for none of ours."""

    def _named(self) -> str:
        return "what these bytes hold" if self.path is None else str(self.path)


@dataclass(frozen=True, slots=True, eq=False)
class Image(KnownFile):
    """A JPEG, PNG or TIFF file as a value of a sample, by its path or its bytes; or an array.

    A file is stored as it is, and read back like an image opened by Pillow; that is not needed to
    write it. Only the first bytes are looked at. `container` is the format, as Pillow calls it.

    Args:
        path: Of the file; one of path, bytes and array is given.
        bytes: What is in it.
        array: Pixels, uint8 or uint16 (height, width), or uint8 (height, width, channels) for
            grey, grey with alpha, RGB or RGBA. They are stored losslessly, and not compressed.

    Raises:
        SampleError: The file is of another format, or the array of another shape.
        OSError: The file cannot be opened.
    """

    array: Any = field(default=None, repr=False, kw_only=True)

    def __post_init__(self) -> None:
        if self.array is None:
            KnownFile.__post_init__(self)
            return
        self._check_alone()
        check_pixels(self.array)
        object.__setattr__(self, "source", None)
        object.__setattr__(self, "container", PIXELS)

    def _check_alone(self) -> None:
        if self.path is not None or self.bytes is not None:
            raise SampleError(
                f"{type(self).__name__} takes path=, bytes= or array=, and one of them only"
            )

    def _container(self, start: builtins.bytes) -> str:
        for container, starts in _STARTS.items():
            if start.startswith(starts):
                return container
        raise SampleError(f"{self._named()} is neither a JPEG nor a PNG nor a TIFF file")


@dataclass(frozen=True, slots=True, eq=False)
class Jpeg(Image):
    """An image that is stored as a JPEG file: as it is, or encoded anew.

    Without quality and max_side it has to be a JPEG file, whose bytes are kept. With them any
    JPEG, PNG or TIFF file, or array, will do. A JPEG file that is small enough and upright keeps
    its bytes if no quality is asked for. What is encoded anew is upright, and has its pixels and
    nothing else: no EXIF, no colour profile. The same input gives the same bytes with the same
    version of Pillow. See docs/images.md.

    Args:
        path: Of the file; one of path, bytes and array is given.
        bytes: What is in it.
        array: Pixels, as for Image.
        quality: Of libjpeg, 1 to 100, to encode with; 90 if only max_side asks for new bytes.
        max_side: The longer side in pixels that a larger image is made smaller to.

    Raises:
        SampleError: It is no such image, or is cut off.
        UsageError: quality or max_side make no sense.
        OSError: The file cannot be opened.
    """

    quality: int | None = field(default=None, kw_only=True)
    max_side: int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        check_knobs(self.quality, self.max_side)
        if self.quality is None and self.max_side is None and self.array is None:
            Image.__post_init__(self)
            return
        if self.array is None:
            KnownFile.__post_init__(self)
            content = self.bytes if self.source is None else file_bytes(self.source)
            made = jpeg_of(content, self.quality, self.max_side, self._named())
        else:
            self._check_alone()
            check_pixels(self.array)
            made = jpeg_of(self.array, self.quality, self.max_side, "the array")
        if made is not None:
            object.__setattr__(self, "source", None)
            object.__setattr__(self, "bytes", made)
        object.__setattr__(self, "container", "JPEG")

    def _container(self, start: builtins.bytes) -> str:
        if self.quality is not None or self.max_side is not None:
            return Image._container(self, start)
        if not start.startswith(_STARTS["JPEG"]):
            raise SampleError(
                f"{self._named()} is not a JPEG file; use Image, or File for any file, or give "
                "quality= to have it made one"
            )
        return "JPEG"


def _look_into(path: PathText) -> tuple[bytes, Source]:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, START_BYTES), source_of(path, os.fstat(descriptor))
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


def content_of(value: KnownFile) -> bytes:
    """The bytes that are stored for a value; raises SampleError if its file is gone."""
    return file_bytes(value.source) if value.source is not None else value.bytes or b""
