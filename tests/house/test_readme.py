"""README.md has the ratios of docs/benchmarks.md, losses included, and refers to what exists."""

from __future__ import annotations

import re

import ratios

README = ratios.README.read_text(encoding="utf-8")
LINK = re.compile(r"\]\((?!https?:|#)(?P<path>[^)#\s]+)")


def test_the_ratios_are_those_of_the_benchmarks() -> None:
    page = ratios.BENCHMARKS.read_text(encoding="utf-8")
    _, found, _ = ratios.parts(README)
    assert found == ratios.table(page)  # python tests/house/ratios.py --write


def test_no_workload_is_left_out_and_a_loss_is_a_row_like_any_other() -> None:
    page = ratios.BENCHMARKS.read_text(encoding="utf-8")
    titles = ratios.TITLE.findall(page)
    assert [name for name, _ in titles] == [cells[0] for cells in ratios.rows(page)]
    lost = (
        "| W1 |  2,230 | 7,346 litdata+pyarrow | 0.3 (0.2 - 0.4) | 1 | - | files/s | MISSED |\n\n"
        "### W1: write files\n"
    )
    row = "| write files | 2,230 | 7,346 litdata+pyarrow | files/s | 0.3 (0.2 - 0.4) |"
    assert ratios.table(lost).splitlines()[2:] == [row]


def test_all_that_it_refers_to_exists() -> None:
    shown = re.sub(r"<!--.*?-->", "", README, flags=re.DOTALL)
    paths = [found["path"] for found in LINK.finditer(shown)]
    assert any(path.startswith("tests/") for path in paths)
    assert [path for path in paths if not (ratios.ROOT / path).exists()] == []
