"""From the trials of run.py to tables, plots and a page.

    python benchmarks/report.py benchmarks/out/results-quick.json [--markdown docs/benchmarks.md]

A ratio says how many times better ours is than the best of the other libraries: more a second, or
fewer seconds, bytes or CPU seconds. It is the median over repetitions, with the least and the
most; below 1 we lose.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peers import OURS, PEERS
from plots import plot
from workloads import WORKLOADS, Workload

UNITS = {
    "cpu_us": "CPU us each",
    "peak_mb": "peak MB",
    "bytes": "bytes",
    "files": "files",
    "first_batch_seconds": "first batch, s",
    "later_rate": "later epochs",
    "open_seconds": "open, s",
    "extra_mb": "extra MB",
    "lost": "lost",
    "doubled": "doubled",
    "median_us": "median us",
    "p99_us": "p99 us",
    "bytes_down": "bytes in all",
    "requests": "requests",
    "row_seconds": "row, s",
}
BUSY = 0.2
COMPARED = {one.name for one in PEERS if one.compared}


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Figures of the repetitions of one thing."""

    values: Sequence[float]

    @property
    def middle(self) -> float:
        return statistics.median(self.values)

    def __str__(self) -> str:
        if len(self.values) == 1:
            return number(self.middle)
        least, most = number(min(self.values)), number(max(self.values))
        return f"{number(self.middle)} ({least} - {most})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One library in one workload. reason: why there are no figures, or "".

    busy: the largest part of the machine that something else took in a trial.
    """

    peer: str
    trials: Sequence[dict[str, Any]]
    reason: str = ""

    def spread(self, figure: str) -> Spread | None:
        values = [trial[figure] for trial in self.trials if trial.get(figure) is not None]
        return Spread(values=values) if values else None

    @property
    def busy(self) -> float:
        return max((trial.get("other_cpu") or 0.0 for trial in self.trials), default=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A workload, and what the libraries made of it."""

    workload: Workload
    lines: Sequence[Line]
    not_offered: Sequence[str] = ()

    def line(self, peer: str) -> Line | None:
        """The line of a library that has figures."""
        return next((one for one in self.lines if one.peer == peer and not one.reason), None)

    def best(self) -> Line | None:
        """The best of the other libraries, by its median."""
        others = [one for one in self.lines if one.peer in COMPARED and not one.reason]
        if self.workload.name.startswith("W9"):  # whoever loses samples has not gone on
            others = [one for one in others if not any(map(harm, one.trials))]
        middles = {one.peer: one.spread(self.workload.figure) for one in others}
        having = [one for one in others if middles[one.peer] is not None]
        if not having:
            return None
        pick = min if self.workload.less_is_better else max
        return pick(having, key=lambda one: middles[one.peer].middle)

    def ratio(self, other: Line | None, figure: str = "") -> Spread | None:
        """How many times better ours is than another, repetition by repetition.

        figure: "cpu_us" for how much less CPU time ours takes for the same.
        """
        ours = self.line(OURS)
        if ours is None or other is None:
            return None
        less_is_better = self.workload.less_is_better or bool(figure)
        figure = figure or self.workload.figure
        pairs = [
            (one[figure], another[figure])
            for one, another in zip(ours.trials, other.trials, strict=False)
            if one.get(figure) and another.get(figure)
        ]
        if less_is_better:
            pairs = [(another, one) for one, another in pairs]
        return Spread(values=[one / another for one, another in pairs]) if pairs else None

    def verdict(self) -> str:
        """The goal, and whether it was reached."""
        ours, ratio = self.line(OURS), self.ratio(self.best())
        goal, at_most = self.workload.goal, self.workload.at_most
        if goal is None and at_most is None:
            return ""
        if ours is None:
            return "not measured"
        if goal is not None:
            reached = ratio is not None and ratio.middle >= goal
            return f"{goal:g}x: {'reached' if reached else 'MISSED'}"
        found = ours.spread(self.workload.figure)
        reached = found is not None and found.middle <= at_most and not any(map(harm, ours.trials))
        return (
            f"at most {number(at_most)} {self.workload.unit}: {'reached' if reached else 'MISSED'}"
        )


def harm(trial: dict[str, Any]) -> bool:
    """Whether samples were lost or came twice."""
    return bool(trial.get("lost") or trial.get("doubled"))


def outcomes(found: dict[str, Any]) -> list[Outcome]:
    """One for each workload that was run."""
    grouped: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for trial in found["trials"]:
        grouped.setdefault((trial["workload"], trial["peer"]), []).append(trial)
    return [
        Outcome(
            workload=workload,
            lines=[
                _line(peer, trials) for (name, peer), trials in grouped.items()
                if name == workload.name
            ],
            not_offered=found["not_offered"].get(workload.name, ()),
        )
        for workload in WORKLOADS
        if workload.name in found["workloads"]
    ]  # fmt: skip


def _line(peer: str, trials: list[dict[str, Any]]) -> Line:
    """A library that failed once has no figures: an average of what went well would flatter."""
    reasons = [trial.get("failed") or trial.get("skipped", "") for trial in trials]
    return Line(peer=peer, trials=trials, reason=next(filter(None, reasons), ""))


def number(value: float) -> str:
    """Three digits that mean something."""
    if value == 0 or 0.001 <= abs(value) < 100:
        return f"{value:.3g}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2e}"


# Tables, as markdown, which reads well in a terminal too ---------------------------------------


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as they must be; the first to the left, the others to the right."""
    widths = [max(len(row[at]) for row in [head, *rows]) for at in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        first, *rest = [cell.rjust(width) for cell, width in zip(cells, widths, strict=True)]
        return f"| {' | '.join([first.strip().ljust(widths[0]), *rest])} |"

    rule = [":" + "-" * (widths[0] - 1), *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([line(head), f"| {' | '.join(rule)} |", *map(line, rows)])


def summary(all_of_them: Sequence[Outcome]) -> str:
    """A line a workload: ours beside the best of the others, and beside the least."""
    rows = []
    for one in all_of_them:
        ours, best, plain = one.line(OURS), one.best(), one.line("plain")
        figure = one.workload.figure
        rows.append(
            [
                one.workload.name,
                shown(ours, figure),
                f"{shown(best, figure)} {best.peer}" if best else "-",
                str(one.ratio(best) or "-"),
                str(one.ratio(best, "cpu_us") or "-") if "cpu_us" in one.workload.others else "",
                str(one.ratio(plain) or "-"),
                one.workload.unit,
                one.verdict(),
            ]
        )
    others = ["best of the others", "ours / best", "CPU, best / ours", "ours / plain"]
    return table(["", "ours", *others, "unit", "goal"], rows)


def shown(line: Line | None, figure: str) -> str:
    found = line.spread(figure) if line else None
    return number(found.middle) if found else "-"


def details(one: Outcome) -> str:
    """A line a library; those that could not do it say why."""
    workload = one.workload
    figures = [workload.figure, *(name for name in workload.others if name != workload.figure)]
    having = sorted(
        (line for line in one.lines if not line.reason and line.spread(workload.figure)),
        key=lambda line: line.spread(workload.figure).middle,
        reverse=not workload.less_is_better,
    )
    rows = [
        [
            line.peer,
            *(str(line.spread(figure) or "-") for figure in figures),
            f"{line.busy:.0%}{' !' if line.busy > BUSY else ''}",
        ]
        for line in having
    ]
    head = ["", workload.unit, *(UNITS[name] for name in figures[1:]), "others' CPU"]
    without = [f"- {line.peer}: {line.reason}" for line in one.lines if line.reason]
    if one.not_offered:
        without.append(f"- not offered by: {', '.join(one.not_offered)}")
    parts = [f"### {workload.name}: {workload.title}", table(head, rows) if rows else ""]
    return "\n\n".join(filter(None, [*parts, "\n".join(without)]))


def page(found: dict[str, Any], all_of_them: Sequence[Outcome]) -> str:
    """Everything, as one text."""
    repetitions = 1 + max((trial["repetition"] for trial in found["trials"]), default=0)
    about = [f"- {name}: {value}" for name, value in found["machine"].items()]
    about.append(f"- form: {found['form']}, {repetitions} repetitions, begun {found['began']}")
    versions = ", ".join(f"{name} {text}" for name, text in found["versions"].items() if text)
    about.append(f"- versions: {versions}")
    about += [f"- not measured: {name}: {why}" for name, why in found["missing"].items()]
    busy = max((line.busy for one in all_of_them for line in one.lines), default=0.0)
    if busy > BUSY:
        about.append(
            f"- **the machine was not idle**: something else took up to {busy:.0%} of it in a "
            'trial (for W4 that includes the server); such lines are marked with "!", and only '
            "ratios of the same line of time mean something"
        )
    return "\n\n".join(
        [
            "# Benchmarks",
            "How fast millstream is beside other libraries, where it loses too. Made by "
            "`benchmarks/report.py` from the trials of `benchmarks/run.py`; "
            "[benchmarks/README.md](../benchmarks/README.md) says what the numbers mean.",
            "\n".join(about),
            summary(all_of_them),
            *map(details, all_of_them),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("--markdown", type=Path, help="write the page there as well")
    given = parser.parse_args()
    found = json.loads(given.results.read_text(encoding="utf-8"))
    all_of_them = outcomes(found)
    text = page(found, all_of_them)
    print(text)
    if given.markdown:
        given.markdown.write_text(text + "\n", encoding="utf-8")
    folder = given.results.parent / f"plots-{found['form']}"
    folder.mkdir(exist_ok=True)
    for one in all_of_them:
        plot(one, folder / f"{one.workload.name}.png")
    print(f"\nplots are in {folder}")


if __name__ == "__main__":
    main()
