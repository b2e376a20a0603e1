"""The samples of one task on their way into its segment."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from millstream.format import Batch, Codec, Encoder, Source
from millstream.format.codecs.files import absolute
from millstream.writing.paths import may_be_path
from millstream.writing.segment import SegmentWriter

# The rows of a task are written down whenever they hold this much memory.
PART_BYTES = 16_000_000


class Raised(Exception):
    """The user's function raised `cause`, after so many samples of the same input were kept."""

    def __init__(self, cause: Exception, kept: int = 0) -> None:
        super().__init__(f"{type(cause).__name__}: {cause}")
        self.cause, self.kept = cause, kept


class Rows(ABC):
    """Takes what fn gives. first_input: the index of the input that gave the first row."""

    def __init__(self) -> None:
        self._plain: type = object  # of the last result that was no iterator
        self._given: Any = None
        self.first_input: int | None = None

    @property
    @abstractmethod
    def count(self) -> int:
        """How many samples there were so far."""

    @abstractmethod
    def add(self, sample: Any, index: int) -> None:
        """A sample that input `index` gave; raises SampleError."""

    @abstractmethod
    def flush(self) -> None:
        """Writes down what there is."""

    def add_results(self, fn: Callable[[Any], Any], value: Any, given: Any, index: int) -> None:
        """What fn gives for one input: one sample, those of an iterator, or none for None.

        given: the input as the job has it, value: as fn gets it. Raises Raised and SampleError.
        """
        self._given = given
        try:
            result = fn(value)
        except Exception as error:
            raise Raised(error) from error
        if type(result) is self._plain:
            self.add(result, index)
        elif isinstance(result, Iterator):
            self._add_items(result, index)
        elif result is not None:
            self._plain = type(result)
            self.add(result, index)

    def _add_items(self, samples: Iterator[Any], index: int) -> None:
        before = self.count
        while True:
            try:
                sample = next(samples)
            except StopIteration:
                return
            except Exception as error:
                raise Raised(error, self.count - before) from error
            self.add(sample, index)


class SampleRows(Rows):
    """Samples of any kind."""

    def __init__(self, codecs: Sequence[Codec], writer: SegmentWriter) -> None:
        super().__init__()
        self._codecs, self._writer = codecs, writer
        self._encoder: Encoder | None = None
        self._written = 0

    @property
    def count(self) -> int:
        """How many rows there were so far."""
        return self._written + (self._encoder.rows if self._encoder else 0)

    def add(self, sample: Any, index: int) -> None:
        encoder = self._encoder or self._begin(sample, index)
        encoder.add(sample)
        if encoder.nbytes >= PART_BYTES:
            self.flush()

    def _begin(self, sample: Any, index: int) -> Encoder:
        self._encoder = Encoder(sample, self._codecs, self._may_refer)
        self.first_input = index
        return self._encoder

    def _may_refer(self, source: Source) -> bool:
        """Whether a file is an input of the job, so that it has to stay as it is until the end."""
        return source.path in _paths(self._given)

    def flush(self) -> None:
        """Writes down what there is."""
        if self._encoder is not None and (part := self._encoder.take()) is not None:
            self._writer.add(part)
            self._written += part.rows


class BatchRows(SampleRows):
    """Samples that stand for many each, as a `Batch`."""

    def add(self, sample: Any, index: int) -> None:
        batch = Batch(sample)
        if not batch.rows:
            return
        encoder = self._encoder or self._begin(batch.row(0), index)
        encoder.add_batch(batch)
        if encoder.nbytes >= PART_BYTES:
            self.flush()


def _paths(value: Any) -> Iterator[str]:
    """The files that an input names, as far as one need look."""
    if isinstance(value, PurePath) or (isinstance(value, str) and may_be_path(value)):
        yield absolute(value)
    elif isinstance(value, Mapping):
        for some in value.values():
            yield from _paths(some)
    elif isinstance(value, list | tuple):
        for some in value:
            yield from _paths(some)
