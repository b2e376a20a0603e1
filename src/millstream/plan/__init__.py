"""Who reads what when: pure functions of integers."""

from millstream.plan.coverage import Coverage
from millstream.plan.cursor import Cursor, restore, state
from millstream.plan.mixture import MixedEpoch, Mixture
from millstream.plan.order import Epoch, Needs, Order, default_lanes, default_window
from millstream.plan.parallel import ENDLESS, SideBySide, SideBySideEpoch, shortest
from millstream.plan.permute import derive, mix, permute, shuffled, unpermute
from millstream.plan.plan import Plan, When
from millstream.plan.proof import CoverageReport, Tally
from millstream.plan.protocol import AnyEpoch, AnyOrder
from millstream.plan.randomness import generator, generator_for_row
from millstream.plan.selection import Selection, split, subsample
from millstream.plan.weights import Curriculum, Group, as_weights

__all__ = [
    "ENDLESS",
    "AnyEpoch",
    "AnyOrder",
    "Coverage",
    "CoverageReport",
    "Curriculum",
    "Cursor",
    "Epoch",
    "Group",
    "MixedEpoch",
    "Mixture",
    "Needs",
    "Order",
    "Plan",
    "Selection",
    "SideBySide",
    "SideBySideEpoch",
    "Tally",
    "When",
    "as_weights",
    "default_lanes",
    "default_window",
    "derive",
    "generator",
    "generator_for_row",
    "mix",
    "permute",
    "restore",
    "shortest",
    "shuffled",
    "split",
    "state",
    "subsample",
    "unpermute",
]
