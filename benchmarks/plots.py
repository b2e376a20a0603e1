"""One picture a workload: a bar a library, from the best to the worst, with least and most."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

if TYPE_CHECKING:
    from report import Outcome

COLOURS = {"ours": "#0b6e4f", "ours+torch": "#7fb69e", "plain": "#bbbbbb"}
OTHERS, LIMIT = "#4a6fa5", "#dddddd"
WIDE = 50  # the largest ratio of two bars that a linear axis can show


def plot(outcome: Outcome, path: Path) -> None:
    """Writes a PNG; nothing if no library has figures."""
    workload = outcome.workload
    found = [(line.peer, line.spread(workload.figure)) for line in outcome.lines if not line.reason]
    bars = [(name, spread) for name, spread in found if spread is not None]
    if not bars:
        return
    bars.sort(key=lambda bar: bar[1].middle, reverse=workload.less_is_better)
    names = [name for name, _ in bars]
    middles = [spread.middle for _, spread in bars]
    down = [spread.middle - min(spread.values) for _, spread in bars]
    up = [max(spread.values) - spread.middle for _, spread in bars]
    colours = [COLOURS.get(name, LIMIT if name == "limit" else OTHERS) for name in names]
    figure, axes = pyplot.subplots(figsize=(8, 0.9 + 0.42 * len(bars)), layout="constrained")
    axes.barh(names, middles, xerr=[down, up], color=colours, ecolor="#333333", capsize=3)
    positive = [middle for middle in middles if middle > 0]
    if positive and max(positive) > WIDE * min(positive):
        axes.set_xscale("log")
    less = ", less is better" if workload.less_is_better else ""
    axes.set_xlabel(workload.unit + less)
    axes.set_title(f"{workload.name}: {workload.title}", fontsize=10, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)
