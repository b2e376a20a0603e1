"""TokensLoader: says that a dataset's samples are the tokens of documents, and how to read them."""

from __future__ import annotations

from dataclasses import dataclass

from millstream.errors import UsageError


@dataclass(frozen=True, slots=True)
class TokensLoader:
    """For `optimize`: samples are 1-D arrays of integers, which are laid end to end. For
    `StreamingDataset`: these are read in blocks of one size, across the borders of documents.

    Args:
        block_size: Tokens a block; only for reading, and not part of what is written. Block i has
            the tokens from i * block_size on. Tokens at the end that fill no block are left out.
        return_boundaries: Whether a sample is a dict {"tokens": ..., "segment_ids": ...}; the
            latter, int32 (block_size,), counts the documents of the block from 0: for masks.

    Raises:
        UsageError: For values that make no sense.
    """

    block_size: int | None = None
    return_boundaries: bool = False

    def __post_init__(self) -> None:
        size = self.block_size
        if size is not None and (type(size) is not int or not 0 < size < 1 << 31):
            raise UsageError(f"block_size is {size!r}, expected a number of tokens from 1")
        if type(self.return_boundaries) is not bool:
            raise UsageError(
                f"return_boundaries is {self.return_boundaries!r}, expected True or False"
            )
