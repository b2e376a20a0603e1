"""The same names as in `millstream`."""

from millstream.torch.loader import StreamingDataLoader

__all__ = ["StreamingDataLoader"]
