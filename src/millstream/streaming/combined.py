"""The same names as in `millstream`."""

from millstream.reading.combined import CombinedStreamingDataset

__all__ = ["CombinedStreamingDataset"]
