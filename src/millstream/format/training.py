"""A dictionary for rows that are compressed alone: what they have in common, said once a chunk."""

from __future__ import annotations

from collections.abc import Sequence

from millstream.format.chunk import laid_out
from millstream.format.division import PACKED_KINDS, sample_rows
from millstream.format.filters import Setting, Unit, make_chain
from millstream.format.layout import Identity
from millstream.format.packing import Packing, groups_of
from millstream.format.part import Part
from millstream.format.schema import Schema
from millstream.format.zstd import train

# A dictionary lies in the lead of each chunk, which a remote row needs once.
MOST_BYTES, LEAST_BYTES = 32_768, 256
# A tenth of what it is trained on would be about all of it.
SAMPLE_PART = 16
SAMPLE_BYTES = 3_000_000
MAX_SAMPLES = 100_000
# Longer rows have enough in common with themselves.
MAX_ROW = 8_192


def needs_training(schema: Schema, packing: Packing) -> bool:
    """Whether rows of a schema may gain from a dictionary."""
    kinds = {field.kind for field in schema.fields}
    return packing.trains and bool(kinds - PACKED_KINDS)


def train_dictionary(parts: Sequence[Part], packing: Packing) -> bytes | None:
    """A dictionary from rows, the same for the same rows; None if it would save nothing.

    packing: its filters of rows use the dictionary. Half of the rows train, the others judge.
    """
    layout, sections = laid_out(parts, packing)
    samples: list[memoryview] = []
    for group in groups_of(layout, sections, packing):
        mean = len(group.data) / group.rows
        if group.is_packed and 0 < mean <= MAX_ROW:
            most = min(MAX_SAMPLES, int(SAMPLE_BYTES / mean))
            samples += group.blobs(sample_rows(group.rows, most))
    rows = [bytes(sample) for sample in samples]
    trained, judging = rows[::2], rows[1::2]
    size = min(MOST_BYTES, sum(map(len, rows)) // SAMPLE_PART)
    made = train(trained, size) if size >= LEAST_BYTES else None
    if made is None:
        return None
    scale = layout.rows / max(len(judging), 1)
    gain = _nbytes(judging, packing, None) - _nbytes(judging, packing, made)
    return made if gain * scale > len(made) else None


def _nbytes(rows: Sequence[bytes], packing: Packing, dictionary: bytes | None) -> int:
    setting = Setting(identity=Identity(job=bytes(16), sequence=0), dictionary=dictionary)
    chain = make_chain(packing.rows, setting)
    return sum(len(chain.apply(row, Unit("blobs"))) for row in rows)
