"""The same names as in `millstream`."""

from millstream.reading.dataset import StreamingDataset

__all__ = ["StreamingDataset"]
