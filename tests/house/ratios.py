"""The table of measured ratios in README.md, as docs/benchmarks.md has them.

python tests/house/ratios.py            prints it
python tests/house/ratios.py --write    puts it into README.md, after a new docs/benchmarks.md
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
BENCHMARKS = ROOT / "docs" / "benchmarks.md"

# Between these two lines of README.md, which nobody sees who reads it as a page.
BEGIN, END = "<!-- ratios: tests/house/ratios.py -->", "<!-- end of ratios -->"

TITLE = re.compile(r"^### (?P<name>W[\w-]+): (?P<title>.*)$", re.MULTILINE)


def rows(page: str) -> list[list[str]]:
    """The cells of the first table of docs/benchmarks.md, a line a workload."""
    summary = page.partition("\n### ")[0].splitlines()
    lines = [line for line in summary if line.startswith("| W")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def table(page: str) -> str:
    """All of these, with the titles that they have below."""
    titles = {found["name"]: found["title"] for found in TITLE.finditer(page)}
    lines = ["| | millstream | best of the others | unit | ratio |", "|---|--:|--:|---|--:|"]
    for name, ours, best, ratio, _, _, unit, _ in rows(page):
        lines.append(f"| {titles[name]} | {ours} | {best} | {unit} | {ratio} |")
    return "".join(f"{line}\n" for line in lines)


def parts(readme: str) -> tuple[str, str, str]:
    """README.md before the table, the table, what comes after; ValueError without borders."""
    begin = readme.index(BEGIN) + len(BEGIN) + 1
    end = readme.index(END, begin)
    return readme[:begin], readme[begin:end], readme[end:]


def main() -> None:
    made = table(BENCHMARKS.read_text(encoding="utf-8"))
    if "--write" not in sys.argv[1:]:
        print(made, end="")
        return
    before, _, after = parts(README.read_text(encoding="utf-8"))
    README.write_text(f"{before}{made}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
