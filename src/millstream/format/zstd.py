"""Compression: zstd frames, each of which says how long its content is."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from millstream.errors import CorruptData
from millstream.format.filters import Setting, Unit
from millstream.format.layout import Buffer, Spec

if TYPE_CHECKING:
    import zstandard

NAME = "zstd"
LEVELS = range(1, 23)
# A block takes at least 4 bytes and holds at most 128 KiB: who promises more for a byte lies.
MAX_RATIO = 32_768
# The most that one row, page or body can be.
MAX_BYTES = 1 << 34


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeZstd:
    """Compresses; with the chunk's dictionary, if it has one and `with_dictionary`."""

    level: int
    with_dictionary: bool = False

    def __call__(self, setting: Setting) -> Zstd:
        return Zstd(self.level, setting.dictionary if self.with_dictionary else None)


def known_zstd(spec: Spec, setting: Setting) -> Zstd:
    """The filter that a header describes; raises CorruptData."""
    wants, level = spec.get("dictionary", False), spec.get("level")
    if type(level) is not int or level not in LEVELS or type(wants) is not bool:
        raise CorruptData(f"its zstd has level {level!r:.20}, dictionary {wants!r:.20}")
    if wants and setting.dictionary is None:
        raise CorruptData("it was compressed with a dictionary, and holds none")
    return Zstd(level, setting.dictionary if wants else None)


# How to read: the length that a frame declares, its content, and what is raised for a bad one.
Reading = tuple[Callable[[Buffer], int], Callable[..., bytes], type[Exception]]


class Zstd(threading.local):
    """The filter. Its state is each thread's own: a context does one thing at a time."""

    is_optional = True

    def __init__(self, level: int, dictionary: bytes | None) -> None:
        self._level, self._dictionary = level, dictionary
        self._compressor: zstandard.ZstdCompressor | None = None
        self._reading: Reading | None = None

    @property
    def spec(self) -> Spec:
        """Name, level, and whether the dictionary is needed."""
        spec: dict[str, object] = {"name": NAME, "level": self._level}
        return {**spec, "dictionary": True} if self._dictionary is not None else spec

    def apply(self, content: Buffer, unit: Unit) -> Buffer:
        """One frame."""
        if self._compressor is None:
            import zstandard

            dictionary = self._dictionary and _for_level(self._dictionary, self._level)
            self._compressor = zstandard.ZstdCompressor(
                level=self._level, dict_data=dictionary or None
            )
        return self._compressor.compress(content)

    def undo(self, content: Buffer, unit: Unit, size: int | None) -> Buffer:
        """The content of one frame, whose declared length is checked before it is believed."""
        frame_size, decompress, error = self._reading or self._begin_reading()
        most = MAX_BYTES if size is None else size
        try:
            declared = frame_size(content)
            if not 0 <= declared <= min(most, MAX_RATIO * len(content)):
                raise CorruptData(
                    f"a zstd frame of {len(content):,} bytes says that it holds {declared:,}, "
                    f"where {'at most ' if size is None else ''}{most:,} may be"
                )
            return decompress(content, 0, False, False)
        except error as reason:
            raise CorruptData(f"cannot be decompressed: {reason}; write it again") from None

    def _begin_reading(self) -> Reading:
        import zstandard

        dictionary = self._dictionary and _loaded(self._dictionary)
        decompressor = zstandard.ZstdDecompressor(dict_data=dictionary or None)
        found = zstandard.frame_content_size, decompressor.decompress, zstandard.ZstdError
        self._reading = found
        return found


@lru_cache(maxsize=4)
def _for_level(dictionary: bytes, level: int) -> zstandard.ZstdCompressionDict:
    made = _loaded(dictionary)
    made.precompute_compress(level=level)
    return made


@lru_cache(maxsize=4)
def _loaded(dictionary: bytes) -> zstandard.ZstdCompressionDict:
    import zstandard

    return zstandard.ZstdCompressionDict(dictionary)


def train(samples: Sequence[bytes], size: int) -> bytes | None:
    """A dictionary of at most so many bytes; None if these samples give none.

    The same samples give the same bytes, with the same library.
    """
    import zstandard

    try:
        trained: bytes = zstandard.train_dictionary(size, list(samples)).as_bytes()
    except zstandard.ZstdError:
        return None
    return trained
