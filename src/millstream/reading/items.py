"""What a dataset is made of for who reads it: the rows that were written, or blocks of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from millstream.format import Manifest, Schema
from millstream.reading.blocks import BlockItems
from millstream.reading.reader import Chunks, Empty, Reader, Rows, Values
from millstream.tokens import TokensLoader


class ItemReader(Protocol):
    """Reads rows by their numbers."""

    def read(
        self, rows: Rows, fields: Sequence[int], empty: Empty = np.empty
    ) -> tuple[list[Values], Rows]:
        """The wanted fields of rows, in that order, and which rows these really are.

        empty: makes the columns.
        """

    def read_one(self, row: int, fields: Sequence[int]) -> list[Values]:
        """The wanted fields of one row that the version has."""


class Items(Protocol):
    """The rows of a version, as they are read."""

    @property
    def schema(self) -> Schema:
        """What a row looks like."""

    @property
    def counts(self) -> Rows:
        """The rows of each chunk, int64."""

    @property
    def block_size(self) -> int | None:
        """The tokens of a row, if rows are blocks."""

    def reader(
        self, chunks: Chunks, heads: Chunks, dtypes: Sequence[np.dtype[Any] | None]
    ) -> ItemReader:
        """Reads them. heads: chunks of which only the first bytes are wanted."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StoredItems:
    """The rows that were written."""

    manifest: Manifest
    block_size: None = None

    @property
    def schema(self) -> Schema:
        """That of the version."""
        return self.manifest.schema

    @property
    def counts(self) -> Rows:
        """The rows of each chunk, int64."""
        return self.manifest.chunks.rows.astype(np.int64)

    def reader(
        self, chunks: Chunks, heads: Chunks, dtypes: Sequence[np.dtype[Any] | None]
    ) -> Reader:
        """Rows lie in one chunk each, so heads are not needed."""
        return Reader(chunks, self.manifest.chunks, dtypes)


def items_of(manifest: Manifest, loader: TokensLoader | None) -> Items:
    """What is read of a version; raises UsageError if it cannot be read like that."""
    if loader is None:
        return StoredItems(manifest=manifest)
    return BlockItems(manifest=manifest, loader=loader)
