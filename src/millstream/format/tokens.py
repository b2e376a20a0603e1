"""Documents of tokens on their way into chunks: 1-D arrays of integers, laid end to end.

A document that is longer than a chunk comes as several rows: each but the first says that it goes
on with the document of the row before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from xxhash import xxh3_64, xxh3_64_intdigest

from millstream import interop
from millstream.errors import SampleError
from millstream.format.codecs import NdArray, Tensor
from millstream.format.layout import TokenColumn
from millstream.format.schema import BARE, Field, Schema, type_difference
from millstream.format.tree import LEAF

Octets = npt.NDArray[np.uint8]
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """Some rows of a token field.

    dtype: as stored. counts: the tokens of each row, int64 (rows,). joins: whether a row goes on
    with the document of the row before, bool (rows,). data: the tokens end to end, as bytes.
    """

    dtype: str
    counts: Counts
    joins: npt.NDArray[np.bool_]
    data: Octets

    def slice(self, start: int, stop: int) -> Tokens:
        """Some of the rows; shares the memory."""
        itemsize = np.dtype(self.dtype).itemsize
        before = int(self.counts[:start].sum()) * itemsize
        length = int(self.counts[start:stop].sum()) * itemsize
        return Tokens(
            dtype=self.dtype,
            counts=self.counts[start:stop],
            joins=self.joins[start:stop],
            data=self.data[before : before + length],
        )


class TokenEncoder:
    """Takes rows of tokens; copies them, so the caller may reuse its arrays.

    room: the bytes that it makes room for at first. `nbytes` is about how much memory the
    rows since the last `take` hold.
    """

    def __init__(self, example: Any, room: int = 4_096) -> None:
        """Raises SampleError if the example, which is not added, is no 1-D array of integers."""
        self._codec, described = _described(example)
        field = Field(name=BARE, kind=self._codec.kind, dtype=described)
        self.schema = Schema(tree=LEAF, fields=(field,))
        self.dtype = self._codec.storage(described)
        self._takes_arrays = isinstance(self._codec, NdArray)
        self._capacity = room // self.dtype.itemsize
        self._buffer = np.empty(0, self.dtype)
        self._counts: list[int] = []
        self._joins: list[int] = []  # the numbers of rows that do
        self._end = 0
        self.nbytes = 0

    def array(self, sample: Any) -> npt.NDArray[Any]:
        """A sample as an array of the dtype that is stored; SampleError if it is of another."""
        is_plain = type(sample) is np.ndarray and self._takes_arrays and sample.ndim == 1
        if is_plain and sample.dtype == self.dtype:
            return sample  # type: ignore[no-any-return]
        codec, described = _described(sample)
        field, got = self.schema.fields[0], Field(name=BARE, kind=codec.kind, dtype=described)
        if (got.kind, got.dtype) != (field.kind, field.dtype):
            raise SampleError(type_difference(BARE, str(got), str(field)))
        return _bits(sample, self.dtype)

    def add(self, tokens: npt.NDArray[Any], *, joins: bool = False) -> None:
        """Adds a row of what `array` gave."""
        start, stop = self._end, self._end + len(tokens)
        if stop > len(self._buffer):
            self._grow(stop)
        self._buffer[start:stop] = tokens
        self._end = stop
        if joins:
            self._joins.append(len(self._counts))
        self._counts.append(stop - start)
        self.nbytes += tokens.nbytes + 100

    def _grow(self, count: int) -> None:
        buffer = np.empty(max(self._capacity, count, 2 * len(self._buffer)), self.dtype)
        buffer[: self._end] = self._buffer[: self._end]
        self._buffer = buffer

    def take(self) -> Tokens | None:
        """The rows added since the last call; None if there are none."""
        if not self._counts:
            return None
        joins = np.zeros(len(self._counts), np.bool_)
        joins[self._joins] = True
        taken = Tokens(
            dtype=self.dtype.str,
            counts=np.array(self._counts, np.int64),
            joins=joins,
            data=self._buffer[: self._end].view(np.uint8),
        )
        self._buffer = np.empty(0, self.dtype)
        self._counts, self._joins, self._end = [], [], 0
        self.nbytes = 0
        return taken


def _described(sample: Any) -> tuple[NdArray | Tensor, str]:
    """The codec and the dtype of a sample; SampleError unless it is a 1-D array of integers."""
    for codec in (NdArray(), Tensor()):
        described = codec.describe(sample)
        if described is not None and sample.ndim == 1 and _is_integer(described):
            return codec, described
    what = type(sample).__qualname__
    if hasattr(sample, "dtype") and hasattr(sample, "shape"):
        what += f" of dtype {sample.dtype} and shape {tuple(sample.shape)}"
    raise SampleError(
        f"a sample is a {what}; with TokensLoader it is the tokens of a document, a 1-D numpy "
        "array or torch tensor of integers: np.array(ids, np.uint16) if the vocabulary has at "
        "most 65,536 tokens, else np.uint32"
    )


def _is_integer(described: str) -> bool:
    if described in ("bool", "bfloat16") or described.startswith("float8"):  # torch's own names
        return False
    return np.dtype(described).kind in "iu"


def _bits(sample: Any, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    return sample if isinstance(sample, np.ndarray) else interop.torch().bits(sample, dtype)


# Into a chunk ---------------------------------------------------------------------------------


def token_offsets(rows: Sequence[Tokens]) -> npt.NDArray[np.uint64]:
    """Where each row begins, in tokens, and where the last one ends: u64 (rows + 1,)."""
    counts = np.concatenate([some.counts for some in rows])
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)]).astype("<u8")


def token_sums(
    column: TokenColumn, offsets: npt.NDArray[np.uint64], rows: Sequence[Tokens]
) -> npt.NDArray[np.uint64]:
    """The xxh3 of the offsets, and of each page of the data."""
    sums = [xxh3_64_intdigest(offsets.data), *_page_sums(column.page, rows)]
    return np.array(sums, "<u8")


def _page_sums(page: int, rows: Sequence[Tokens]) -> Iterator[int]:
    """Pages know nothing of how the data is cut into pieces: one may lie in several."""
    open_page, filled = xxh3_64(), 0
    for piece in (some.data.data for some in rows):
        at = min(page - filled, len(piece)) if filled else 0
        open_page.update(piece[:at])
        filled += at
        if filled == page:
            yield open_page.intdigest()
            open_page, filled = xxh3_64(), 0
        whole = at + (len(piece) - at) // page * page
        yield from (xxh3_64_intdigest(piece[n : n + page]) for n in range(at, whole, page))
        open_page.update(piece[whole:])
        filled += len(piece) - whole
    if filled:
        yield open_page.intdigest()


def goes_on(rows: Sequence[Tokens]) -> bool:
    """Whether the first row of a chunk goes on with the document before; no other may."""
    joins = np.concatenate([some.joins for some in rows])
    if joins[1:].any():
        raise ValueError("only the first row of a chunk can go on with the document before")
    return bool(joins[0])
