"""Who reads what when: pure functions of integers."""

from millstream.plan.blocks import BlockLine, Pieces, block_counts
from millstream.plan.coverage import Coverage
from millstream.plan.cursor import Cursor, restore, state
from millstream.plan.mixture import MixedEpoch, Mixture
from millstream.plan.order import Epoch, Needs, Order, default_lanes, default_window
from millstream.plan.parallel import ENDLESS, SideBySide, SideBySideEpoch, shortest
from millstream.plan.permute import Keys, derive, mix, permute, shuffled, unpermute
from millstream.plan.plan import Plan, StepRows, When
from millstream.plan.proof import CoverageReport, RanksReport, Tally
from millstream.plan.protocol import AnyEpoch, AnyOrder
from millstream.plan.randomness import (
    decoding_keys,
    decoding_keys_for_rows,
    generator,
    generator_for_row,
    uniforms,
)
from millstream.plan.selection import Cut, Selection, split, subsample
from millstream.plan.version import content_of, shortened
from millstream.plan.weights import Curriculum, Group, as_weights

__all__ = [
    "ENDLESS",
    "AnyEpoch",
    "AnyOrder",
    "BlockLine",
    "Coverage",
    "CoverageReport",
    "Curriculum",
    "Cursor",
    "Cut",
    "Epoch",
    "Group",
    "Keys",
    "MixedEpoch",
    "Mixture",
    "Needs",
    "Order",
    "Pieces",
    "Plan",
    "RanksReport",
    "Selection",
    "SideBySide",
    "SideBySideEpoch",
    "StepRows",
    "Tally",
    "When",
    "as_weights",
    "block_counts",
    "content_of",
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
    "shortened",
    "shortest",
    "shuffled",
    "split",
    "state",
    "subsample",
    "uniforms",
    "unpermute",
]
