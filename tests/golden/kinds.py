"""The datasets of tests/golden/v1: what is in them, and how they were written."""

from __future__ import annotations

import base64
import functools
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import PIL.Image
import torch

import millstream as ms
from millstream.tokens import TokensLoader
from millstream.utilities.encryption import (
    AESGCMEncryption,
    Encryption,
    FernetEncryption,
    RSAEncryption,
)

PASSWORD = "a password that everybody knows"
RSA_KEY = Path(__file__).parent / "v1" / "rsa.pem"

Write = Callable[[Path], object]


@dataclass(frozen=True, kw_only=True)
class Golden:
    """A dataset. samples: what reading it gives. write: makes it, in this or another process.

    read: arguments of StreamingDataset. is_fixed: whether writing it again gives the same bytes,
    as far as that is ours to say: what zstd gives may change, what is encrypted always does.
    """

    write: Write
    samples: Callable[[], Sequence[Any]]
    read: Callable[[], dict[str, Any]] = dict
    is_fixed: bool = True


class Point(NamedTuple):
    """A structure with names."""

    x: Any
    y: Any


def optimize(fn: Callable[[int], Any], rows: int, **options: Any) -> Write:
    """Writes rows 0 to rows - 1 in small chunks."""
    options = {"chunk_size": 4, **options}

    def write(folder: Path) -> None:
        given = {name: make() if callable(make) else make for name, make in options.items()}
        ms.optimize(fn, range(rows), folder, num_workers=0, verbose=False, **given)

    return write


def rows_of(fn: Callable[[int], Any], rows: int) -> Callable[[], list[Any]]:
    """The samples of `optimize(fn, rows)`."""
    return lambda: [fn(i) for i in range(rows)]


# Values -----------------------------------------------------------------------------------------

DTYPES = "?bBhHiIlLefdFD"


def values(i: int) -> dict[str, Any]:
    return {
        "bool": i % 2 == 0,
        "int": -i,
        "float": i / 3,
        "str": "é" * i,
        "bytes": bytes(range(i)),
        "none and more": ms.Json({"a": [i, (None, True)], 7: "x"}),
        "nested": Point([i, {"deep": "x" * i}], (f"t{i}", i)),
        "fixed": np.arange(4, dtype="<i2") + i,
        "ragged": np.arange(i, dtype=">f8"),
        "strings": np.array([f"{i:3}", "b"]),
        "when": np.datetime64(i, "ms"),
        **{f"scalar {code}": np.dtype(code).type(i % 2) for code in DTYPES},
        **{f"array {code}": np.full((2, 3), i % 2, code) for code in DTYPES},
    }


def bare(i: int) -> float:
    return i / 7


def pair(i: int) -> tuple[int, list[str]]:
    return i, [f"{i}", "x" * i]


def tensors(i: int) -> dict[str, Any]:
    return {
        "fixed": torch.arange(6, dtype=torch.int32).reshape(2, 3) + i,
        "ragged": torch.ones(i, dtype=torch.float64) * i,
        "half": torch.full((3,), i / 2, dtype=torch.bfloat16),
        "small": torch.tensor(i % 2 == 1),
    }


def picture(mode: str, i: int) -> PIL.Image.Image:
    step = np.arange(35, dtype=np.uint8).reshape(5, 7) * 5 + i
    image = PIL.Image.fromarray(np.stack([step, step[::-1], 255 - step], 2))
    return image.convert(mode)


def pictures(i: int) -> dict[str, Any]:
    return {mode: picture(mode, i) for mode in ("1", "L", "P", "RGB", "RGBA", "CMYK", "I;16", "F")}


JPEG = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDABALDA4MChAODQ4SERATGCgaGBYWGDEjJR0oOjM9PDkzODdASFxOQERXRT"
    "c4UG1RV19iZ2hnPk1xeXBkeFxlZ2P/wAALCAAFAAcBAREA/8QAFAABAAAAAAAAAAAAAAAAAAAABf/EABcQAQADAAAA"
    "AAAAAAAAAAAAAAMABBH/2gAIAQEAAD8AKG6mT//Z"
)
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAcAAAAFCAIAAAAG+GGPAAAAF0lEQVR4nGNk6PnPyvobDbEo371LC1EAegonp8cf66"
    "4AAAAASUVORK5CYII="
)
TIFF = base64.b64decode(
    "SUkqAAgAAAAKAAABBAABAAAABwAAAAEBBAABAAAABQAAAAIBAwADAAAAhgAAAAMBAwABAAAAAQAAAAYBAwABAAAAAg"
    "AAABEBBAABAAAAjAAAABUBAwABAAAAAwAAABYBBAABAAAABQAAABcBBAABAAAAaQAAABwBAwABAAAAAQAAAAAAAAAI"
    "AAgACAAAjP8FkfoKlvUPm/AUoOsZpeYequEjadwobtctc9IyeM03fcg8gsNBh75GRrlLS7RQUK9VVapaWqVfX6BkZJ"
    "tpI5ZuKJFzLYx4Mod9N4KCPH2HQXiMAHORBW6WCmmbD2SgFF+lGVqqHlU="
)
WAV = b"RIFF" + struct.pack("<I", 44) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8, 8, 1, 8)
WAV += b"data" + struct.pack("<I", 8) + bytes(range(8))
MP4 = struct.pack(">I", 16) + b"ftypisom" + bytes(4) + struct.pack(">I", 8) + b"mdat"


def files(i: int) -> dict[str, Any]:
    return {
        "jpeg": ms.Jpeg(bytes=JPEG),
        "png": ms.Image(bytes=PNG),
        "tiff": ms.Image(bytes=TIFF),
        "audio": ms.Audio(bytes=WAV + bytes(i)),
        "video": ms.Video(bytes=MP4 + bytes(i)),
        "text": ms.Text("/etc/hosts" * i),
    }


def files_as_bytes(i: int) -> dict[str, Any]:
    return {
        "jpeg": JPEG,
        "png": PNG,
        "tiff": TIFF,
        "audio": WAV + bytes(i),
        "video": MP4 + bytes(i),
        "text": "/etc/hosts" * i,
    }


def pickled(i: int) -> dict[str, Any]:
    return {"id": i, "set": {i, "x"}}


# Tokens -----------------------------------------------------------------------------------------

BLOCK = 5


def document(i: int) -> np.ndarray[Any, Any]:
    return np.arange(i * 3, dtype=np.uint16) + 100 * i


def blocks() -> list[np.ndarray[Any, Any]]:
    tokens = np.concatenate([document(i) for i in range(9)])
    return list(tokens[: len(tokens) // BLOCK * BLOCK].reshape(-1, BLOCK))


def read_blocks() -> dict[str, Any]:
    return {"item_loader": TokensLoader(BLOCK)}


# Compressed and encrypted -----------------------------------------------------------------------


def record(i: int) -> dict[str, Any]:
    return {
        "id": i,
        "text": f"the record number {i} has a text like that of the record number {i + 1}",
        "vector": np.full(50, i % 3, np.float32),
        "jpeg": ms.Jpeg(bytes=JPEG),
    }


def record_as_bytes(i: int) -> dict[str, Any]:
    return {**record(i), "jpeg": JPEG}


def keyed(key: Callable[[], Encryption], **more: Any) -> Golden:
    """The records, encrypted; a Jpeg is read as its bytes."""
    return Golden(
        write=optimize(record, 10, encryption=key, **more),
        samples=rows_of(record_as_bytes, 10),
        read=lambda: {"encryption": key(), "decode": {"jpeg": "bytes"}},
        is_fixed=False,
    )


def packed(compression: str, rows: int = 40) -> Golden:
    return Golden(
        write=optimize(record, rows, compression=compression, chunk_size=16),
        samples=rows_of(record_as_bytes, rows),
        read=lambda: {"decode": {"jpeg": "bytes"}},
        is_fixed=False,
    )


def fernet(level: Any) -> Callable[[], Encryption]:
    return lambda: FernetEncryption(password=PASSWORD, level=level)


def aes(level: Any) -> Callable[[], Encryption]:
    return lambda: AESGCMEncryption(password=PASSWORD, level=level)


def rsa(level: Any) -> Callable[[], Encryption]:
    def key() -> Encryption:
        made = RSAEncryption(password=PASSWORD, level=level)
        made.load_private_key(RSA_KEY)
        return made

    return key


class Flipped(Encryption):
    """No encryption to speak of, but a class of the user's own."""

    def encrypt(self, data: bytes) -> bytes:
        return bytes(byte ^ 0x55 for byte in data)

    decrypt = encrypt


# Versions ---------------------------------------------------------------------------------------


def grown(folder: Path) -> None:
    """Three versions: a first one, more rows, and all rows anew."""
    write = functools.partial(ms.optimize, num_workers=0, verbose=False, chunk_size=4)
    write(pair, range(6), folder)
    write(pair, range(6, 9), folder, mode="append")
    write(pair, range(20, 25), folder, mode="overwrite")


def merged(folder: Path) -> None:
    parts = [folder.parent / f"{folder.name}-{n}" for n in range(2)]
    for n, part in enumerate(parts):
        ms.optimize(pair, range(5 * n, 5 * n + 5), part, num_workers=0, verbose=False, chunk_size=4)
    ms.merge_datasets(parts, folder)


def version(number: int, rows: Sequence[int]) -> Golden:
    return Golden(
        write=grown,
        samples=lambda: [pair(i) for i in rows],
        read=lambda: {"version": number},
    )


KINDS = {
    "values": Golden(write=optimize(values, 6), samples=rows_of(values, 6)),
    "bare": Golden(write=optimize(bare, 6), samples=rows_of(bare, 6)),
    "pair": Golden(write=optimize(pair, 6), samples=rows_of(pair, 6)),
    "tensors": Golden(write=optimize(tensors, 6), samples=rows_of(tensors, 6)),
    "pictures": Golden(write=optimize(pictures, 3), samples=rows_of(pictures, 3)),
    "files": Golden(
        write=optimize(files, 5),
        samples=rows_of(files_as_bytes, 5),
        read=lambda: {"decode": dict.fromkeys(("jpeg", "png", "tiff"), "bytes")},
    ),
    "pickled": Golden(
        write=optimize(pickled, 5, allow_pickle=True),
        samples=rows_of(pickled, 5),
        read=lambda: {"allow_pickle": True},
        is_fixed=False,
    ),
    "tokens": Golden(
        write=optimize(document, 9, item_loader=TokensLoader, chunk_size=20),
        samples=blocks,
        read=read_blocks,
    ),
    "versions": version(3, range(20, 25)),
    "merged": Golden(write=merged, samples=rows_of(pair, 10)),
    "zstd-rows": packed("zstd:5"),
    "zstd-dictionary": packed("zstd", rows=400),
    "zstd-frames": packed("zstd/frame"),
    "zstd-chunk": packed("zstd/chunk"),
    "zstd-tokens": Golden(
        write=optimize(document, 9, item_loader=TokensLoader, chunk_size=80, compression="zstd"),
        samples=blocks,
        read=read_blocks,
        is_fixed=False,
    ),
    "fernet-sample": keyed(fernet("sample")),
    "fernet-chunk": keyed(fernet("chunk")),
    "fernet-zstd": keyed(fernet("sample"), compression="zstd"),
    "aes-sample": keyed(aes("sample")),
    "aes-chunk": keyed(aes("chunk")),
    "rsa-sample": keyed(rsa("sample")),
    "rsa-chunk": keyed(rsa("chunk")),
    "own-encryption": keyed(Flipped),
}
# Other versions of the dataset "versions".
OLDER = {1: range(6), 2: range(9)}


def all_of_them() -> Iterator[tuple[str, Golden]]:
    """Every dataset, by the folder that it lies in; the older versions of one too."""
    yield from KINDS.items()
    for number, rows in OLDER.items():
        yield "versions", version(number, rows)
