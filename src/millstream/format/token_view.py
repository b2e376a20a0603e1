"""Reading tokens from the bytes of a chunk, each page checked before it is given out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from xxhash import xxh3_64_intdigest

from millstream.errors import CorruptData
from millstream.format.layout import TokenColumn
from millstream.format.plain import Pages
from millstream.format.spans import Spans, spans

Ints = npt.NDArray[np.int64]

NO_PAGES = np.empty(0, np.int64)
AGAIN = "does not match its checksum; fetch or write this chunk again"


class TokenView:
    """A token column of a chunk in memory, or mapped.

    Pages, and the offsets, are verified at their first use. count: its tokens. joins: whether the
    first row goes on with the document of the chunk before. The errors raised (CorruptData) say
    the chunk's name and the rows.
    """

    def __init__(
        self,
        body: memoryview,
        column: TokenColumn,
        *,
        name: str,
        verify: bool,
        pages: Pages | None = None,
        what: str = "tokens",
    ) -> None:
        self.count, self.joins = column.count, column.joins
        self._name, self._column, self._verify, self._what = name, column, verify, what
        self._dtype, self._pages = np.dtype(column.dtype), pages
        self._bytes = body[column.data.offset : column.data.stop]
        self._array = np.frombuffer(b"" if pages else self._bytes, column.dtype)
        self._stored_offsets = np.frombuffer(
            body[column.offsets.offset : column.offsets.stop], "<u8"
        )
        self._sums = np.frombuffer(body[column.sums.offset : column.sums.stop], "<u8")
        self._good = bytearray(self.pages)
        self._unchecked = self.pages if verify and pages is None else 0
        self._offsets: Ints | None = None  # once they are known to be sound

    @property
    def pages(self) -> int:
        """How many pages the data has."""
        return len(self._sums) - 1

    def tokens(self, start: int, stop: int) -> npt.NDArray[Any]:
        """The tokens start to stop - 1 of the chunk; shares its memory."""
        if self._pages is not None:
            return self._opened(self._pages, start, stop)
        if self._unchecked:
            self._check_pages(start, stop)
        return self._array[start:stop]

    def _opened(self, pages: Pages, start: int, stop: int) -> npt.NDArray[Any]:
        first, last = self._pages_of(start, stop)
        if start == stop:
            return np.empty(0, self._dtype)
        return pages.content(np.arange(first, last), self._place).view(self._dtype)[start:stop]

    def _pages_of(self, start: int, stop: int) -> tuple[int, int]:
        itemsize, page = self._dtype.itemsize, self._column.page
        return start * itemsize // page, -(-stop * itemsize // page)

    def _check_pages(self, start: int, stop: int) -> None:
        first, last = self._pages_of(start, stop)
        if self._good.find(0, first, last) < 0:
            return
        for number in range(first, last):
            self.check(number)
            self._good[number] = 1
        self._unchecked = self._good.count(0)

    def rows(self, rows: Ints) -> tuple[npt.NDArray[Any], Ints, Ints]:
        """All tokens, of which those of some rows are there; where each of these starts and ends.

        Only for pages that were filtered.
        """
        starts, stops = self.offsets[rows], self.offsets[rows + 1]
        itemsize, page = self._dtype.itemsize, self._column.page
        edges = np.zeros(self.pages + 2, np.int64)  # how many rows begin in a page, or have ended
        np.add.at(edges, starts * itemsize // page, 1)
        np.add.at(edges, -(-stops * itemsize // page), -1)
        numbers = np.flatnonzero(np.cumsum(edges[: self.pages]) > 0)
        if self._pages is None:
            raise ValueError("pages that are not filtered lie where they are")
        content = self._pages.content(numbers, self._place).view(self._dtype)
        return content, starts, stops

    def row(self, row: int) -> npt.NDArray[Any]:
        """The tokens of a row; shares the memory of the chunk."""
        return self.tokens(int(self.offsets[row]), int(self.offsets[row + 1]))

    def borders(self, start: int, stop: int) -> Ints:
        """Where rows begin between two tokens, both left out; ascending, perhaps with repeats."""
        first = np.searchsorted(self.offsets, start, side="right")
        return self.offsets[first : np.searchsorted(self.offsets, stop, side="left")]

    @property
    def offsets(self) -> Ints:
        """Where each row begins, and where the last one ends; they ascend from 0 to `count`."""
        if self._offsets is None:
            self._offsets = self._sound_offsets()
        return self._offsets

    def _sound_offsets(self) -> Ints:
        found = self._stored_offsets
        if self._verify:
            self.check_offsets()
        # Compared as they are stored: as int64 a large one would be negative.
        if found[0] != 0 or found[-1] != self.count or (found[1:] < found[:-1]).any():
            raise CorruptData(
                f"chunk {self._name}: its offsets do not ascend from 0 to {self.count}; fetch or "
                "write this chunk again"
            )
        return found.astype(np.int64)

    def row_spans(self, rows: Ints) -> Spans:
        """The bytes of the body that reading these rows needs, beyond its tables."""
        return self.spans(np.stack([self.offsets[rows], self.offsets[rows + 1]], axis=-1))

    def spans(self, ranges: Ints) -> Spans:
        """The same for ranges of tokens, (n, 2): whole pages if pages are verified."""
        ranges = ranges[ranges[:, 0] < ranges[:, 1]] * self._dtype.itemsize
        starts, stops = ranges[:, 0], ranges[:, 1]
        if self._pages is not None:
            page = self._column.page
            numbers = [
                np.arange(a, b) for a, b in zip(starts // page, -(-stops // page), strict=True)
            ]
            found = self._pages.spans(np.concatenate([NO_PAGES, *numbers]), self._place)
            return self._column.data.offset + found
        if self._verify:
            page = self._column.page
            starts, stops = starts // page * page, -(-stops // page) * page
        stops = np.minimum(stops, self._column.data.length)
        return self._column.data.offset + spans(starts, stops)

    # Checking everything ---------------------------------------------------------------------

    def rows_of(self, page: int) -> tuple[int, int]:
        """The first and the last row of a page; all rows if the offsets cannot be believed."""
        try:
            offsets = self.offsets
        except CorruptData:
            return 0, len(self._stored_offsets) - 2
        itemsize, size = self._dtype.itemsize, self._column.page
        first = int(np.searchsorted(offsets, page * size // itemsize, side="right")) - 1
        token = (min((page + 1) * size, self._column.nbytes) - 1) // itemsize
        return first, int(np.searchsorted(offsets, token, side="right")) - 1

    def check(self, page: int) -> None:
        """Raises CorruptData unless a page is as it was written."""
        if self._pages is not None:
            self._pages.check(page, self._place)
            return
        size = self._column.page
        content = self._bytes[page * size : (page + 1) * size]
        if xxh3_64_intdigest(content) != self._sums[page + 1]:
            raise CorruptData(f"{self._place(page)} {AGAIN}")

    def _place(self, page: int) -> str:
        first, last = self.rows_of(page)
        return f"chunk {self._name}, rows {first} to {last}: a page of {self._what}"

    def check_offsets(self) -> None:
        """The same for the offsets."""
        if xxh3_64_intdigest(self._stored_offsets.data) != self._sums[0]:
            raise CorruptData(f"chunk {self._name}: the table of its documents {AGAIN}")

    def problems(self) -> Iterator[tuple[int, int, CorruptData]]:
        """All that is not as it was written: first row, last row, and the error."""
        try:
            self._offsets = self._sound_offsets()
        except CorruptData as error:
            yield 0, len(self._stored_offsets) - 2, error
        for page in range(self.pages):
            try:
                self.check(page)
            except CorruptData as error:
                yield *self.rows_of(page), error
