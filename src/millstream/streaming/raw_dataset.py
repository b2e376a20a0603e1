"""The same names as in `millstream`."""

from millstream.reading.raw.dataset import StreamingRawDataset
from millstream.reading.raw.items import FileMetadata

__all__ = ["FileMetadata", "StreamingRawDataset"]
