"""docs/when-wrong.md has every error, and the messages that it quotes are printed by its code."""

from __future__ import annotations

import builtins
import re
from pathlib import Path

import pytest
from test_docs_run import run_page

from millstream import errors

PAGE = Path(__file__).parents[2] / "docs" / "when-wrong.md"
TEXT = PAGE.read_text(encoding="utf-8")
HEADING = re.compile(r"^### (\w+), also (\w+)$", re.MULTILINE)
QUOTED = re.compile(r"^```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# What differs from run to run, and what the page shortens.
VARYING = [
    (re.compile(r"\[Errno \d+\]"), "[Errno N]"),
    (re.compile(r"\b[0-9a-f]{8,}(\.\.\.)?"), "DIGEST"),
    (re.compile(r"process \d+"), "process N"),
    (re.compile(r"127\.0\.0\.1:\d+"), "HOST"),
]
TREE = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, errors.MillstreamError)
}


def plain(line: str) -> str:
    for pattern, word in VARYING:
        line = pattern.sub(word, line)
    return line


def quoted(text: str) -> list[str]:
    """The lines of the page's text blocks."""
    return [plain(line) for block in QUOTED.findall(text) for line in block.splitlines()]


def test_every_error_is_on_the_page_and_no_other() -> None:
    assert sorted(name for name, _ in HEADING.findall(TEXT)) == sorted(TREE)


@pytest.mark.parametrize(("name", "other"), HEADING.findall(TEXT))
def test_an_error_is_also_what_the_page_says(name: str, other: str) -> None:
    assert issubclass(TREE[name], TREE.get(other) or getattr(builtins, other))


def test_every_error_but_the_root_has_a_message() -> None:
    shown = {line.split(":")[0] for line in quoted(TEXT)}
    assert shown == TREE.keys() - {"MillstreamError"}


def test_the_quoted_messages_are_the_printed_ones(tmp_path: Path) -> None:
    done = run_page(PAGE, tmp_path)
    assert done.returncode == 0, done.stderr
    printed = [plain(line.replace(str(tmp_path), "")) for line in done.stdout.splitlines()]
    assert printed == quoted(TEXT)


def test_what_varies_is_told_from_what_does_not() -> None:
    assert plain("chunk 0123456789ab, row 3") == plain("chunk fedcba98..., row 3")
    assert plain("chunk 0123456789ab, row 3") != plain("chunk 0123456789ab, row 4")
    assert plain("worker 0 (process 12)") == plain("worker 0 (process 3)")
    assert quoted("a\n```text\nb: c\n```\n```python\nd\n```\n") == ["b: c"]
