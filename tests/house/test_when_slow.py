"""docs/when-slow.md explains every number of `stats()`, and names no other."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from millstream.reading.stats import LoaderStats

PAGE = Path(__file__).parents[2] / "docs" / "when-slow.md"
ROW = re.compile(r"^\| ((?:`\w+`(?:, )?)+) \| [^|]{15,} \|$", re.MULTILINE)


def explained(text: str) -> list[str]:
    """The names that the tables of two columns begin with."""
    return [name for row in ROW.findall(text) for name in re.findall(r"\w+", row)]


def test_every_number_of_the_stats_is_explained_once() -> None:
    found = explained(PAGE.read_text(encoding="utf-8"))
    assert sorted(found) == sorted(field.name for field in fields(LoaderStats))


def test_the_quoted_stats_are_worded_as_they_are_today() -> None:
    quoted = re.findall(r"^\d+ batches in .*$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(quoted) >= 7
    today = wording(str(LoaderStats()))
    assert {wording(line) for line in quoted} == {today}


def wording(line: str) -> str:
    """A line of stats without its numbers and its bottleneck."""
    return re.sub(r"[\d.,]*\d", "N", line).partition("Bottleneck")[0]


def test_what_is_not_explained_is_found() -> None:
    rows = "| `one`, `two` | some words that explain |\n| `three` | short |\n"
    assert explained(rows) == ["one", "two"]
    assert wording("1 batches in 2.5 s. Bottleneck: x") != wording("1 batch in 2.5 s. Bottleneck")
