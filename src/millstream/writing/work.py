"""What a worker does with a task: run the function and write a segment, or build a chunk."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from millstream.encryption.library import Aes
from millstream.errors import FunctionError, MillstreamError, SampleError
from millstream.format import (
    PLAIN,
    Identity,
    Packing,
    Part,
    assemble,
    builtin,
    train_dictionary,
)
from millstream.format.codecs import BlobCodec
from millstream.writing.cuts import Limits
from millstream.writing.fetch import InputFetcher, NotFetched
from millstream.writing.gather import Room, gather
from millstream.writing.placed import ChunkPlace, ChunkRecord, Placed
from millstream.writing.rows import BatchRows, Raised, Rows, SampleRows
from millstream.writing.sealing import JobSealing
from millstream.writing.segment import SegmentWriter, Skipped
from millstream.writing.segments import Segments
from millstream.writing.temporary import Temporary
from millstream.writing.token_rows import TokenRows
from millstream.writing.urls import short

# Some rows of a segment: its task, the part, the first row of it and the one after the last.
Piece = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodeTask:
    """Run the function over some inputs. start: the index of the first of them."""

    number: int
    start: int
    inputs: Sequence[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class AssembleTask:
    """Build a chunk from pieces of segments: (task, part, start, stop).

    start, stop, skipped: as in `Placed`. dictionary: for compression, if there is one.
    """

    identity: Identity
    pieces: tuple[Piece, ...]
    start: tuple[int, int]
    stop: tuple[int, int]
    skipped: tuple[Skipped, ...]
    dictionary: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainTask:
    """Make the dictionary of a job from rows: pieces as in AssembleTask."""

    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The callable that travels to every worker.

    tokens: what a chunk may hold, if samples are documents of tokens; None for samples of any kind.
    packing: the filters of chunks. sealing: of an encrypted job, whose segments are encrypted too.
    serializers: the user's own codecs.
    """

    fn: Callable[[Any], Any]
    chunks: ChunkPlace
    segments: Segments
    fetcher: InputFetcher
    temporary: Temporary
    skip_errors: bool
    allow_pickle: bool
    batched: bool
    room: Room
    tokens: Limits | None = None
    packing: Packing = PLAIN
    sealing: JobSealing | None = None
    serializers: tuple[BlobCodec, ...] = ()

    def __call__(self, task: EncodeTask | AssembleTask | TrainTask) -> Placed | bytes | None:
        if isinstance(task, AssembleTask):
            return self._assemble(task)
        if isinstance(task, TrainTask):
            return self._train(task)
        return self._encode(task)

    def _encode(self, task: EncodeTask) -> bytes | None:
        """Returns what the job wants to be told of the segment, see `Segments.keep`."""
        with (
            self.segments.writer(task.number, self._cipher) as writer,
            self.temporary.open() as folder,
            self.fetcher.open(task.inputs, folder) as inputs,
        ):
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
            return self.segments.keep(writer)

    def _rows(self, writer: SegmentWriter) -> Rows:
        if self.tokens is not None:
            return TokenRows(self.tokens, writer)
        kind = BatchRows if self.batched else SampleRows
        return kind(builtin(allow_pickle=self.allow_pickle, first=self.serializers), writer)

    def _gathered(self, pieces: Sequence[Piece]) -> list[Part]:
        """The rows of pieces, good until the next call."""
        wanted: dict[int, set[int]] = {}
        for task, part, _, _ in pieces:
            wanted.setdefault(task, set()).add(part)
        segments = self.segments.read(wanted, self._cipher)
        parts = [segments[task].parts[part].slice(a, b) for task, part, a, b in pieces]
        with self.temporary.open() as folder:
            return gather(parts, self.room, None if self.sealing else folder)

    def _train(self, task: TrainTask) -> bytes | None:
        return train_dictionary(self._gathered(task.pieces), self.packing)

    def _assemble(self, task: AssembleTask) -> Placed:
        packing = replace(self.packing, dictionary=task.dictionary)
        chunk = assemble(self._gathered(task.pieces), task.identity, packing)
        record = ChunkRecord.of(chunk.layout, chunk.digest().hex(), chunk.size)
        placed = Placed(chunk=record, start=task.start, stop=task.stop, skipped=task.skipped)
        # The record comes first, and counts once the chunk is there: a kill between the two would
        # leave a chunk that nothing names, which is not the one made next if it is encrypted.
        self.chunks.record(task.identity.sequence, placed.to_bytes())
        # Here, where workers wait for the network side by side.
        self.chunks.put(record.digest, chunk.pieces)
        return placed

    @property
    def _cipher(self) -> Aes | None:
        """Of segments."""
        return None if self.sealing is None else self.sealing.segments


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
