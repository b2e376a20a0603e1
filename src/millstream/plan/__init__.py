"""Who reads what when: pure functions of integers."""

from millstream.plan.coverage import Coverage
from millstream.plan.cursor import Cursor, restore, state
from millstream.plan.order import Epoch, Order, default_lanes, default_window
from millstream.plan.permute import derive, mix, permute, shuffled, unpermute
from millstream.plan.plan import Plan, When
from millstream.plan.proof import CoverageReport, Tally
from millstream.plan.randomness import generator, generator_for_row
from millstream.plan.selection import Cut, Selection, split, subsample

__all__ = [
    "Coverage",
    "CoverageReport",
    "Cursor",
    "Cut",
    "Epoch",
    "Order",
    "Plan",
    "Selection",
    "Tally",
    "When",
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
    "unpermute",
]
