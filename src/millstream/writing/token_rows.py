"""The documents of one task on their way into its segment, as rows of tokens.

A document is a row, and lies in one chunk. One that is longer than a chunk may be is cut into rows
of just that length, and a shorter last one. So where rows and chunks end depends on the lengths of
documents alone.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from millstream.format import Part, Schema, TokenEncoder, chunk_layout, object_bytes
from millstream.writing.cuts import Limits
from millstream.writing.rows import PART_BYTES, Rows
from millstream.writing.segment import SegmentWriter


class TokenRows(Rows):
    """Takes documents one by one."""

    def __init__(self, limits: Limits, writer: SegmentWriter) -> None:
        super().__init__()
        self._limits, self._writer = limits, writer
        self._encoder: TokenEncoder | None = None
        self._most = self._count = 0

    @property
    def count(self) -> int:
        """How many documents there were so far."""
        return self._count

    def add(self, sample: Any, index: int) -> None:
        if self._encoder is None:
            self._encoder = self._begin(sample)
            self.first_input = index
        encoder = self._encoder
        tokens = encoder.array(sample)
        if len(tokens) > self._most:
            self._add_long(encoder, tokens)
        else:
            encoder.add(tokens)
        if encoder.nbytes >= PART_BYTES:
            self.flush()
        self._count += 1

    def _add_long(self, encoder: TokenEncoder, tokens: npt.NDArray[Any]) -> None:
        for start in range(0, len(tokens), self._most):
            encoder.add(tokens[start : start + self._most], joins=start > 0)
            if encoder.nbytes >= PART_BYTES:
                self.flush()

    def _begin(self, sample: Any) -> TokenEncoder:
        encoder = TokenEncoder(sample, PART_BYTES)
        self._most = most_tokens(encoder.schema, encoder.dtype, self._limits)
        return encoder

    def flush(self) -> None:
        """Writes down what there is."""
        encoder = self._encoder
        if encoder is not None and (tokens := encoder.take()) is not None:
            self._writer.add(
                Part(
                    schema=encoder.schema,
                    rows=len(tokens.counts),
                    arrays={},
                    blobs=None,
                    tokens={0: tokens},
                )
            )


@lru_cache(maxsize=1)
def most_tokens(schema: Schema, dtype: np.dtype[Any], limits: Limits) -> int:
    """The most tokens that a chunk of one row may have, at least 1."""

    def fits(count: int) -> bool:
        layout = chunk_layout(schema, 1, {}, None, {0: (dtype.str, count)})
        return object_bytes(layout) <= limits.nbytes

    low, high = 1, min(limits.tokens, limits.nbytes // dtype.itemsize) + 1
    while high - low > 1:  # low is taken to fit, high does not
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
