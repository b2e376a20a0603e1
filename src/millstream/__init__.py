"""Millstream: raw data to chunked datasets, streamed into training in an order one can compute.

The names below are the whole public surface. They are loaded at first use, so that
`import millstream` is quick and imports no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from millstream.execution.machine import Machine
    from millstream.execution.ray import RayExecutor
    from millstream.format.codecs.codec import BlobCodec
    from millstream.format.codecs.files import File, Image, Jpeg
    from millstream.format.codecs.json import Json
    from millstream.format.codecs.media import Audio, Video
    from millstream.format.codecs.text import Text
    from millstream.reading.combined import CombinedStreamingDataset
    from millstream.reading.dataset import StreamingDataset
    from millstream.reading.jpeg import JpegDecode
    from millstream.reading.parallel import ParallelStreamingDataset
    from millstream.reading.raw.dataset import StreamingRawDataset
    from millstream.reading.raw.items import FileMetadata
    from millstream.reading.split import train_test_split
    from millstream.store.walk import walk
    from millstream.tokens import TokensLoader
    from millstream.torch.loader import StreamingDataLoader
    from millstream.writing.commit_shards import commit
    from millstream.writing.map import map
    from millstream.writing.merge import merge_datasets
    from millstream.writing.optimize import optimize

__version__ = "0.1.0.dev0"

__all__ = [
    "Audio",
    "BlobCodec",
    "CombinedStreamingDataset",
    "File",
    "FileMetadata",
    "Image",
    "Jpeg",
    "JpegDecode",
    "Json",
    "Machine",
    "ParallelStreamingDataset",
    "RayExecutor",
    "StreamingDataLoader",
    "StreamingDataset",
    "StreamingRawDataset",
    "Text",
    "TokensLoader",
    "Video",
    "commit",
    "map",
    "merge_datasets",
    "optimize",
    "train_test_split",
    "walk",
]

_HOMES = {
    "Audio": "millstream.format.codecs.media",
    "BlobCodec": "millstream.format.codecs.codec",
    "CombinedStreamingDataset": "millstream.reading.combined",
    "File": "millstream.format.codecs.files",
    "FileMetadata": "millstream.reading.raw.items",
    "Image": "millstream.format.codecs.files",
    "Jpeg": "millstream.format.codecs.files",
    "JpegDecode": "millstream.reading.jpeg",
    "Json": "millstream.format.codecs.json",
    "Machine": "millstream.execution.machine",
    "ParallelStreamingDataset": "millstream.reading.parallel",
    "RayExecutor": "millstream.execution.ray",
    "StreamingDataLoader": "millstream.torch.loader",
    "StreamingDataset": "millstream.reading.dataset",
    "StreamingRawDataset": "millstream.reading.raw.dataset",
    "Text": "millstream.format.codecs.text",
    "TokensLoader": "millstream.tokens",
    "Video": "millstream.format.codecs.media",
    "commit": "millstream.writing.commit_shards",
    "map": "millstream.writing.map",
    "merge_datasets": "millstream.writing.merge",
    "optimize": "millstream.writing.optimize",
    "train_test_split": "millstream.reading.split",
    "walk": "millstream.store.walk",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'millstream' has no attribute {name!r}")
    try:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ModuleNotFoundError(
            f"{name} needs torch: pip install 'millstream[torch]'; without it, "
            "dataset.batches(batch_size) gives batches of numpy arrays",
            name="torch",
        ) from None
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
