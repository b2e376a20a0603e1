"""Every python block in README.md and docs/ runs, as a reader would run it: in order, as a script.

A block marked `no-run` (```python no-run) is compiled only.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```python(?P<info>[^\n]*)\n(?P<code>.*?)^```\s*$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    line: int
    code: str
    runs: bool


def blocks(text: str) -> list[Block]:
    """The python blocks of a page; line: where the code starts, counted from 1."""
    return [
        Block(
            line=text.count("\n", 0, match.start("code")) + 1,
            code=match["code"],
            runs="no-run" not in match["info"].split(),
        )
        for match in FENCE.finditer(text)
    ]


def script(found: list[Block]) -> str:
    """One script of the blocks that run, each on the lines it has in the page."""
    lines: list[str] = []
    for block in found:
        if block.runs:
            lines += [""] * (block.line - 1 - len(lines))
            lines += block.code.splitlines()
    return "\n".join(lines) + "\n"


def run_page(page: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    found = blocks(page.read_text(encoding="utf-8"))
    for block in found:
        compile("\n" * (block.line - 1) + block.code, page.name, "exec")
    program = folder / f"{page.stem}.py"
    program.write_text(script(found), encoding="utf-8")
    work = folder / "work"
    work.mkdir()
    return subprocess.run(
        [sys.executable, str(program)],
        cwd=work,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_blocks_of_a_page_run(page: Path, tmp_path: Path) -> None:
    done = run_page(page, tmp_path)
    assert done.returncode == 0, f"{page.name} (same line numbers):\n{done.stderr}"


def test_the_pages_exist_and_the_readme_shows_code() -> None:
    assert ROOT / "docs" / "format.md" in PAGES
    assert any(block.runs for block in blocks((ROOT / "README.md").read_text(encoding="utf-8")))


def page_of(tmp_path: Path, text: str) -> Path:
    page = tmp_path / "page.md"
    page.write_text(text, encoding="utf-8")
    return page


def test_blocks_share_names_and_keep_their_lines(tmp_path: Path) -> None:
    text = "# Title\n\n```python\na = 1\n```\n\ntext\n\n```python\nraise SystemExit(a + 1)\n```\n"
    assert [block.line for block in blocks(text)] == [4, 10]
    assert script(blocks(text)).splitlines()[9] == "raise SystemExit(a + 1)"
    assert run_page(page_of(tmp_path, text), tmp_path).returncode == 2


def test_a_block_that_fails_is_found_and_named(tmp_path: Path) -> None:
    done = run_page(page_of(tmp_path, "\n```python\n1 / 0\n```\n"), tmp_path)
    assert done.returncode == 1
    assert "line 3" in done.stderr
    assert "ZeroDivisionError" in done.stderr


def test_a_block_marked_no_run_only_has_to_compile(tmp_path: Path) -> None:
    assert run_page(page_of(tmp_path, "```python no-run\n1 / 0\n```\n"), tmp_path).returncode == 0


def test_a_block_that_does_not_compile_is_found(tmp_path: Path) -> None:
    with pytest.raises(SyntaxError):
        run_page(page_of(tmp_path, "```python no-run\n1 +\n```\n"), tmp_path)
