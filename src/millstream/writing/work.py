"""What a worker does with a task: run the function and write a segment, or build a chunk."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from millstream.errors import FunctionError, MillstreamError, SampleError
from millstream.format import Identity, assemble, builtin
from millstream.format.codecs import BlobCodec
from millstream.writing.cuts import Limits
from millstream.writing.fetch import InputFetcher, NotFetched
from millstream.writing.gather import Room, gather
from millstream.writing.placed import ChunkPlace, ChunkRecord, Placed
from millstream.writing.rows import BatchRows, Raised, Rows, SampleRows
from millstream.writing.segment import SegmentWriter, Skipped, read_segment
from millstream.writing.token_rows import TokenRows
from millstream.writing.urls import short


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
    """The callable that travels to every worker.

    tokens: what a chunk may hold, if samples are documents of tokens; None for samples of any kind.
    serializers: the user's own codecs.
    """

    fn: Callable[[Any], Any]
    chunks: ChunkPlace
    fetcher: InputFetcher
    temporary: Path
    skip_errors: bool
    allow_pickle: bool
    batched: bool
    room: Room
    tokens: Limits | None = None
    serializers: tuple[BlobCodec, ...] = ()

    def __call__(self, task: EncodeTask | AssembleTask) -> Placed | None:
        if isinstance(task, AssembleTask):
            return self._assemble(task)
        self._encode(task)
        return None

    def _encode(self, task: EncodeTask) -> None:
        temporary = self.temporary / f"{task.segment.name}.{os.getpid()}"
        fetched = self.fetcher.open(task.inputs, self.temporary)
        with SegmentWriter(temporary, task.segment) as writer, fetched as inputs:
            rows = self._rows(writer)
            skipped: list[Skipped] = []
            for index, value in enumerate(task.inputs, task.start):
                try:
                    rows.add_results(self.fn, next(inputs), value, index)
                except (Raised, NotFetched) as error:
                    if not self.skip_errors:
                        raise input_error(error, index, value) from error.cause
                    skipped.append(Skipped(input=index, error=str(error), kept=error.kept))
                except SampleError as error:
                    place = f"the sample from input {index} ({short(value)})"
                    raise SampleError(f"{place}: {error}") from None
            rows.flush()
            writer.finish(skipped, rows.first_input)

    def _rows(self, writer: SegmentWriter) -> Rows:
        if self.tokens is not None:
            return TokenRows(self.tokens, writer)
        kind = BatchRows if self.batched else SampleRows
        return kind(builtin(allow_pickle=self.allow_pickle, first=self.serializers), writer)

    def _assemble(self, task: AssembleTask) -> Placed:
        segments = {path: read_segment(path) for path in {piece[0] for piece in task.pieces}}
        parts = [segments[p].parts[part].slice(a, b) for p, part, a, b in task.pieces]
        chunk = assemble(gather(parts, self.room, self.temporary), task.identity)
        shapes = {column.field: column.shape for column in chunk.layout.columns}
        record = ChunkRecord(
            digest=chunk.digest().hex(),
            size=chunk.size,
            rows=chunk.layout.rows,
            lead=chunk.layout.lead(),
            shapes=tuple(map(shapes.get, range(len(chunk.layout.schema.fields)))),
            tokens=chunk.layout.count_tokens(),
        )
        placed = Placed(chunk=record, start=task.start, stop=task.stop, skipped=task.skipped)
        # Here, where workers wait for the network side by side.
        self.chunks.put(record.digest, chunk.pieces)
        return placed


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
