"""Reading the rows of a column, each page checked before it is given out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from xxhash import xxh3_64_intdigest

from millstream.errors import CorruptData
from millstream.format.header import np_u64
from millstream.format.layout import Column, Layout
from millstream.format.plain import Pages
from millstream.format.spans import Spans, spans

Rows = npt.NDArray[np.int64]


class ColumnView:
    """The rows of a column. pages: brings those that were filtered."""

    def __init__(
        self,
        body: memoryview,
        layout: Layout,
        column: Column,
        *,
        name: str,
        verify: bool,
        pages: Pages | None = None,
    ) -> None:
        self._name, self._column, self._verify, self._pages = name, column, verify, pages
        self._rows, self._dtype = layout.rows, np.dtype(column.dtype)
        self._field = layout.schema.fields[column.field].name
        self._bytes = body[column.data.offset : column.data.stop]
        self._sums = np_u64(body, column.sums)
        if pages is None:
            self._array = self._shaped(np.frombuffer(self._bytes, np.uint8))
        self._good = np.zeros(len(self._sums), np.bool_)
        self._unverified = verify and pages is None and len(self._sums) > 0
        self.shape = column.shape
        self.pages = len(self._sums)

    def _shaped(self, content: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
        return content.view(self._dtype).reshape(self._rows, *self._column.shape)

    def take(self, rows: Rows, out: npt.NDArray[Any] | None) -> npt.NDArray[Any]:
        """Rows, copied, into `out` if given."""
        if out is not None and out.dtype != self._dtype:
            raise CorruptData(
                f"chunk {self._name}: the column {self._field!r} holds {self._dtype}, its "
                f"dataset {out.dtype}; fetch or write this chunk again"
            )
        if self._pages is not None:
            opened = self._pages.content(rows // self._column.page, self._place)
            return self._shaped(opened).take(rows, axis=0, out=out, mode="clip")
        if self._unverified:
            pages = rows // self._column.page
            if not (good := self._good[pages]).all():
                self._verify_pages(np.unique(pages[~good]).tolist())
        # With the mode "raise" numpy would gather into memory of its own and copy from there.
        return self._array.take(rows, axis=0, out=out, mode="clip")

    def cell(self, row: int) -> npt.NDArray[Any]:
        """One row, (1, *shape), where it lies."""
        if self._pages is not None:
            opened = self._pages.content(np.array([row // self._column.page]), self._place)
            return self._shaped(opened)[row : row + 1]
        if self._unverified and not self._good[page := row // self._column.page]:
            self._verify_pages([page])
        return self._array[row : row + 1]

    def _verify_pages(self, pages: Sequence[int]) -> None:
        for page in pages:
            self.check(page)
            self._good[page] = True
        self._unverified = not self._good.all()

    def spans(self, rows: Rows) -> Spans:
        """The bytes of the body that reading these rows needs, beyond its tables."""
        if self._pages is not None:
            found = self._pages.spans(rows // self._column.page, self._place)
            return self._column.data.offset + found
        unit = self._column.page if self._verify else 1
        starts = np.unique(rows // unit) * unit
        stops = np.minimum(starts + unit, self._rows)
        return self._column.data.offset + self._column.itemsize * spans(starts, stops)

    def rows_of(self, page: int) -> tuple[int, int]:
        """The first and the last row of a page."""
        rows = self._column.page
        return page * rows, min((page + 1) * rows, self._rows) - 1

    def _place(self, page: int) -> str:
        first, last = self.rows_of(page)
        return f"chunk {self._name}, rows {first} to {last}: a page of the column {self._field!r}"

    def check(self, page: int) -> None:
        """Raises CorruptData unless a page is as it was written."""
        if self._pages is not None:
            self._pages.check(page, self._place)
            return
        step = self._column.page * self._column.itemsize
        if xxh3_64_intdigest(self._bytes[page * step : (page + 1) * step]) != self._sums[page]:
            first, last = self.rows_of(page)
            raise CorruptData(
                f"chunk {self._name}, rows {first} to {last}: the column {self._field!r} "
                "does not match its checksum; fetch or write this chunk again"
            )
