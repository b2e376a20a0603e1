"""The same names as in `millstream`."""

from millstream.reading.parallel import ParallelStreamingDataset

__all__ = ["ParallelStreamingDataset"]
