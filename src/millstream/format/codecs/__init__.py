"""How one value of a sample becomes bytes and back: one file a kind of field.

A codec says which values are its own (`describe`) and which of two ways it stores them:
`ArrayCodec` values are arrays of a known dtype and can lie in a column; `BlobCodec` values
are bytes of any length and lie in the row's blob. To add a kind, write a codec and hand it
over; there is no registry.
"""

from collections.abc import Sequence

from millstream.format.codecs.arrays import NdArray, NumpyScalar
from millstream.format.codecs.binary import Binary
from millstream.format.codecs.codec import (
    ArrayCodec,
    BlobCodec,
    Closed,
    Codec,
    Shape,
    Source,
    as_serializers,
)
from millstream.format.codecs.files import File, Image, Jpeg
from millstream.format.codecs.image_file import ImageFile
from millstream.format.codecs.json import Json, JsonCodec
from millstream.format.codecs.media import Audio, Media, Video
from millstream.format.codecs.numbers import Boolean, Integer, Number, Real
from millstream.format.codecs.pickled import Pickled
from millstream.format.codecs.pixels import Pixels
from millstream.format.codecs.tensor import Tensor
from millstream.format.codecs.text import Text, TextCodec


def builtin(*, allow_pickle: bool = False, first: Sequence[Codec] = ()) -> tuple[Codec, ...]:
    """The codecs of this version, in the order in which they are asked.

    With allow_pickle the last one takes every value that no other codec wants. first: codecs that
    are asked before all of them.
    """
    codecs: tuple[Codec, ...] = (
        *first,
        Boolean(),
        Integer(),
        Real(),
        TextCodec(),
        Binary(),
        NdArray(),
        NumpyScalar(),
        Tensor(),
        ImageFile("jpeg", "JPEG"),
        ImageFile("png", "PNG"),
        ImageFile("tiff", "TIFF"),
        Pixels(),
        Media("audio", Audio),
        Media("video", Video),
        JsonCodec(),
    )
    return (*codecs, Pickled()) if allow_pickle else codecs


__all__ = [
    "ArrayCodec",
    "Audio",
    "Binary",
    "BlobCodec",
    "Boolean",
    "Closed",
    "Codec",
    "File",
    "Image",
    "ImageFile",
    "Integer",
    "Jpeg",
    "Json",
    "JsonCodec",
    "Media",
    "NdArray",
    "Number",
    "NumpyScalar",
    "Pickled",
    "Pixels",
    "Real",
    "Shape",
    "Source",
    "Tensor",
    "Text",
    "TextCodec",
    "Video",
    "as_serializers",
    "builtin",
]
