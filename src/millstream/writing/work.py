"""What a worker does with a task: run the function and write a segment, or build a chunk."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from millstream.errors import FunctionError, MillstreamError, SampleError
from millstream.format import Codec, Encoder, Identity, assemble, builtin
from millstream.writing.fetch import InputFetcher, NotFetched
from millstream.writing.placed import ChunkPlace, ChunkRecord, Placed
from millstream.writing.segment import SegmentWriter, Skipped, read_segment
from millstream.writing.urls import short

# The rows of a task are written down whenever they hold this much memory.
PART_BYTES = 16_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodeTask:
    """Run the function over some inputs. start: the index of the first of them."""

    segment: Path
    start: int
    inputs: Sequence[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class AssembleTask:
    """Build a chunk from pieces of segments: (segment, part, start, stop).

    start, stop, skipped: as in `Placed`.
    """

    identity: Identity
    pieces: tuple[tuple[Path, int, int, int], ...]
    start: tuple[int, int]
    stop: tuple[int, int]
    skipped: tuple[Skipped, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The callable that travels to every worker."""

    fn: Callable[[Any], Any]
    chunks: ChunkPlace
    fetcher: InputFetcher
    temporary: Path
    skip_errors: bool
    allow_pickle: bool

    def __call__(self, task: EncodeTask | AssembleTask) -> Placed | None:
        if isinstance(task, AssembleTask):
            return self._assemble(task)
        self._encode(task)
        return None

    def _encode(self, task: EncodeTask) -> None:
        temporary = self.temporary / f"{task.segment.name}.{os.getpid()}"
        fetched = self.fetcher.open(task.inputs, self.temporary)
        with SegmentWriter(temporary, task.segment) as writer, fetched as inputs:
            rows = _Rows(builtin(allow_pickle=self.allow_pickle), writer)
            skipped: list[Skipped] = []
            for index, value in enumerate(task.inputs, task.start):
                before = rows.count
                try:
                    with inputs.take() as local:
                        for sample in _samples(self.fn, local):
                            rows.add(sample, index)
                except (Raised, NotFetched) as error:
                    if not self.skip_errors:
                        raise input_error(error, index, value) from error.cause
                    kept = rows.count - before
                    skipped.append(Skipped(input=index, error=str(error), kept=kept))
                except SampleError as error:
                    place = f"the sample from input {index} ({short(value)})"
                    raise SampleError(f"{place}: {error}") from None
            rows.flush()
            writer.finish(skipped, rows.first_input)

    def _assemble(self, task: AssembleTask) -> Placed:
        segments = {path: read_segment(path) for path in {piece[0] for piece in task.pieces}}
        parts = [segments[p].parts[part].slice(a, b) for p, part, a, b in task.pieces]
        chunk = assemble(parts, task.identity)
        shapes = {column.field: column.shape for column in chunk.layout.columns}
        record = ChunkRecord(
            digest=chunk.digest().hex(),
            size=chunk.size,
            rows=chunk.layout.rows,
            lead=chunk.layout.lead(),
            shapes=tuple(map(shapes.get, range(len(chunk.layout.schema.fields)))),
        )
        placed = Placed(chunk=record, start=task.start, stop=task.stop, skipped=task.skipped)
        # Here, where workers wait for the disk or the network side by side.
        self.chunks.put(record.digest, chunk.pieces)
        self.chunks.record(task.identity.sequence, placed.to_bytes())
        return placed


class _Rows:
    """The samples of one task on their way into its segment."""

    def __init__(self, codecs: Sequence[Codec], writer: SegmentWriter) -> None:
        self._codecs, self._writer = codecs, writer
        self._encoder: Encoder | None = None
        self.first_input: int | None = None
        self.count = 0

    def add(self, sample: Any, index: int) -> None:
        if self._encoder is None:
            self._encoder = Encoder(sample, self._codecs)
            self.first_input = index
        self._encoder.add(sample)
        self.count += 1
        if self._encoder.nbytes >= PART_BYTES:
            self.flush()

    def flush(self) -> None:
        if self._encoder is not None and (part := self._encoder.take()) is not None:
            self._writer.add(part)


class Raised(Exception):
    """The user's function raised `cause`."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(f"{type(cause).__name__}: {cause}")
        self.cause = cause


def _samples(fn: Callable[[Any], Any], value: Any) -> Iterator[Any]:
    """What the function gives for one input: one sample, those of an iterator, or none for None."""
    try:
        result = fn(value)
    except Exception as error:
        raise Raised(error) from error
    if not isinstance(result, Iterator):
        if result is not None:
            yield result
        return
    while True:
        try:
            sample = next(result)
        except StopIteration:
            return
        except Exception as error:
            raise Raised(error) from error
        yield sample


def input_error(error: Raised | NotFetched, index: int, value: Any) -> MillstreamError:
    """The error that names the input for which the function raised, or that cannot be had."""
    if isinstance(error, NotFetched):
        return type(error.cause)(
            f"input {index} ({short(value)}) cannot be fetched: {error.cause} Mend the input, or "
            'pass on_error="skip"'
        )
    trace = "".join(traceback.format_exception(error.cause)).rstrip()
    return FunctionError(
        f"fn raised {error} for input {index} ({short(value)}). Mend fn or the input, or pass "
        f'on_error="skip". Its traceback:\n{trace}'
    )
