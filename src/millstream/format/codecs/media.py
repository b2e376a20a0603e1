"""Audio and video files, kept as their bytes; the schema says their container.

A field holds files of one container. What is told apart is the container, not what is in it: an
MP4 file of sound alone is as good an `Audio` as a `Video`.
"""

from __future__ import annotations

import builtins
from dataclasses import dataclass
from typing import Any

from millstream.errors import SampleError
from millstream.format.codecs.codec import BlobCodec, Source
from millstream.format.codecs.files import KnownFile, content_of

_SOUND = ("wav", "flac", "mp3", "aac", "ogg", "m4a", "mp4", "aiff", "webm", "mkv")
_MOVING = ("mp4", "mov", "webm", "mkv", "avi", "ogg", "ts", "mpeg", "flv", "asf")

# First bytes that say it all.
_STARTS = {
    b"fLaC": "flac",
    b"ID3": "mp3",
    b"OggS": "ogg",
    b"FLV\x01": "flv",
    b"\0\0\x01\xba": "mpeg",
    b"\0\0\x01\xb3": "mpeg",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11": "asf",
}
# The type in bytes 8 to 12 of a file that starts with the id of an IFF or RIFF form.
_FORMS = {
    (b"RIFF", b"WAVE"): "wav",
    (b"RF64", b"WAVE"): "wav",
    (b"RIFF", b"AVI "): "avi",
    (b"FORM", b"AIFF"): "aiff",
    (b"FORM", b"AIFC"): "aiff",
}
# The first box of a QuickTime file that is older than `ftyp`.
_OLD_BOXES = (b"moov", b"mdat", b"wide", b"free", b"skip")
# Files that start like MP4 and hold still images.
_STILL = (b"heic", b"heix", b"heim", b"mif1", b"msf1", b"avif", b"avis")
_EBML = b"\x1a\x45\xdf\xa3"
_TS_PACKET = 188


def container_of(start: bytes) -> str | None:
    """The container of an audio or video file from its first 192 bytes; None for none of them."""
    for first, name in _STARTS.items():
        if start.startswith(first):
            return name
    if start[4:8] == b"ftyp":
        return _brand(start[8:12])
    if start[4:8] in _OLD_BOXES:
        return "mov"
    if start.startswith(_EBML):
        return "webm" if b"webm" in start else "mkv" if b"matroska" in start else None
    if start[:1] == b"G" and start[_TS_PACKET : _TS_PACKET + 1] == b"G":
        return "ts"
    return _FORMS.get((start[:4], start[8:12])) or _frame(start)


def _brand(brand: bytes) -> str | None:
    if brand in _STILL:
        return None
    return {b"qt  ": "mov", b"M4A ": "m4a", b"M4B ": "m4a"}.get(brand, "mp4")


def _frame(start: bytes) -> str | None:
    """MPEG audio without a header of its own begins with 11 bits set, and then says its layer."""
    if len(start) < 4 or start[0] != 0xFF or start[1] & 0xE0 != 0xE0:
        return None
    if start[1] & 0xF6 == 0xF0:
        return "aac"
    version, layer, rate = start[1] >> 3 & 3, start[1] >> 1 & 3, start[2] >> 4
    return "mp3" if version != 1 and layer == 1 and rate not in (0, 15) else None


@dataclass(frozen=True, slots=True, eq=False)
class Audio(KnownFile):
    """An audio file as a value of a sample, by its path or its bytes; stored and read as bytes.

    `container` is "wav", "flac", "mp3", "aac", "ogg", "m4a", "mp4", "aiff", "webm" or "mkv", told
    from the first bytes, which are all that is looked at.

    Args:
        path: Of the file; either path or bytes is given.
        bytes: What is in it.

    Raises:
        SampleError: It is another file.
        OSError: It cannot be opened.
    """

    def _container(self, start: builtins.bytes) -> str:
        return _checked(self._named(), start, _SOUND, "an audio")


@dataclass(frozen=True, slots=True, eq=False)
class Video(KnownFile):
    """A video file as a value of a sample, by its path or its bytes; stored and read as bytes.

    `container` is "mp4", "mov", "webm", "mkv", "avi", "ogg", "ts", "mpeg", "flv" or "asf", told
    from the first bytes, which are all that is looked at.

    Args:
        path: Of the file; either path or bytes is given.
        bytes: What is in it.

    Raises:
        SampleError: It is another file.
        OSError: It cannot be opened.
    """

    def _container(self, start: builtins.bytes) -> str:
        return _checked(self._named(), start, _MOVING, "a video")


def _checked(name: str, start: bytes, known: tuple[str, ...], what: str) -> str:
    found = container_of(start)
    if found in known:
        return found
    is_like = "is like none of them" if found is None else f"looks like {found}"
    raise SampleError(
        f"{name} is not {what} file ({', '.join(known)}): it {is_like}; use File for any file"
    )


class Media(BlobCodec):
    """The bytes of one class of files; the dtype of the field is their container."""

    def __init__(self, kind: str, value: type[KnownFile]) -> None:
        self.kind = kind
        self._value = value

    def describe(self, value: Any) -> str | None:
        return value.container if type(value) is self._value else None

    def source(self, value: Any) -> Source | None:
        found: Source | None = value.source
        return found

    def encode(self, value: Any) -> bytes:
        return content_of(value)

    def decode(self, payload: memoryview) -> bytes:
        return bytes(payload)
