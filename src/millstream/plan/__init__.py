"""Who reads what when: pure functions of integers."""

from millstream.plan.blocks import BlockLine, Pieces, block_counts
from millstream.plan.coverage import Coverage
from millstream.plan.cursor import Cursor, restore, state
from millstream.plan.order import Epoch, Order, default_lanes, default_window
from millstream.plan.permute import Keys, derive, mix, permute, shuffled, unpermute
from millstream.plan.plan import Plan, StepRows, When
from millstream.plan.proof import CoverageReport, Tally
from millstream.plan.randomness import (
    decoding_keys,
    decoding_keys_for_rows,
    generator,
    generator_for_row,
    uniforms,
)
from millstream.plan.selection import Cut, Selection, split, subsample

__all__ = [
    "BlockLine",
    "Coverage",
    "CoverageReport",
    "Cursor",
    "Cut",
    "Epoch",
    "Keys",
    "Order",
    "Pieces",
    "Plan",
    "Selection",
    "StepRows",
    "Tally",
    "When",
    "block_counts",
    "decoding_keys",
    "decoding_keys_for_rows",
    "default_lanes",
    "default_window",
    "derive",
    "generator",
    "generator_for_row",
    "mix",
    "permute",
    "restore",
    "shuffled",
    "split",
    "state",
    "subsample",
    "uniforms",
    "unpermute",
]
