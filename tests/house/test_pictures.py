"""The pictures of docs/order.md are what the plan says today, and can be read."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import pytest
from test_docs_run import run_page

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "pictures"
PAGE = ROOT / "docs" / "order.md"
COMMITTED = sorted(FOLDER.glob("*.svg"))
SVG = "{http://www.w3.org/2000/svg}"
HEIGHTS = {"tiny": 9, "small": 11}
# The width of a character in heights of its font, a little more than most fonts take.
WIDE = 0.62


def draw(folder: Path, source: Path = FOLDER) -> dict[str, str]:
    subprocess.run(
        [sys.executable, str(source / "draw.py"), str(folder)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONDONTWRITEBYTECODE": "1"},
        check=True,
    )
    return {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.svg")}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return draw(tmp_path_factory.mktemp("pictures"))


def test_the_committed_pictures_are_those_of_the_plan(drawn: dict[str, str]) -> None:
    committed = {path.name: path.read_text(encoding="utf-8") for path in COMMITTED}
    assert committed.keys() == drawn.keys()
    changed = [name for name in drawn if drawn[name] != committed[name]]
    assert not changed, "python docs/pictures/draw.py draws them anew"


def test_another_order_makes_other_pictures(tmp_path: Path, drawn: dict[str, str]) -> None:
    for source in FOLDER.glob("*.py"):
        text = source.read_text(encoding="utf-8").replace("256, 42", "256, 43")
        (tmp_path / source.name).write_text(text, encoding="utf-8")
    folder = tmp_path / "drawn"
    folder.mkdir()
    others = draw(folder, tmp_path)
    # Ranks and lanes of positions are the same for any seed, so that picture is too.
    assert [name for name in sorted(drawn) if others[name] == drawn[name]] == ["resume.svg"]


def test_the_page_shows_every_picture_and_says_what_is_on_it() -> None:
    shown = re.findall(r"!\[([^\]]+)\]\(pictures/([^)]+)\)", PAGE.read_text(encoding="utf-8"))
    assert sorted(name for _, name in shown) == [path.name for path in COMMITTED]
    assert all(len(words) > 20 for words, _ in shown)


def test_what_the_page_quotes_is_what_its_code_prints(tmp_path: Path) -> None:
    text = PAGE.read_text(encoding="utf-8")
    quoted = re.findall(r"^```text\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert run_page(PAGE, tmp_path).stdout == "".join(quoted) != ""


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_a_picture_has_a_title_and_is_light(path: Path) -> None:
    root = ElementTree.parse(path).getroot()
    assert root.get("role") == "img"
    names = {part.get("id"): part.text for part in root if part.get("id")}
    assert [len(names[name] or "") > 20 for name in (root.get("aria-labelledby") or "").split()]
    assert path.stat().st_size < 32_000
    assert "prefers-color-scheme:dark" in path.read_text(encoding="utf-8")


def boxes(root: ElementTree.Element) -> Iterator[tuple[str, float, float, float, float]]:
    """All words with the rectangle that they take, at most."""
    for part in root.iter(f"{SVG}text"):
        kinds = (part.get("class") or "").split()
        height = next((HEIGHTS[kind] for kind in kinds if kind in HEIGHTS), 13)
        words = part.text or ""
        width = len(words) * height * WIDE
        x, y = float(part.get("x", 0)), float(part.get("y", 0))
        before = {"middle": width / 2, "end": width}.get(part.get("text-anchor", ""), 0.0)
        yield words, x - before, y - height * 0.8, x - before + width, y + height * 0.2


def collisions(root: ElementTree.Element) -> list[tuple[str, ...]]:
    """Words that others lie upon, or that leave the picture."""
    _, _, width, height = map(float, (root.get("viewBox") or "").split())
    found = list(boxes(root))
    outside = [
        (words,)
        for words, x, y, to_x, to_y in found
        if min(x, y) < 0 or to_x > width or to_y > height
    ]
    return outside + [
        (one[0], other[0])
        for one, other in combinations(found, 2)
        if one[1] < other[3] and other[1] < one[3] and one[2] < other[4] and other[2] < one[4]
    ]


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_no_words_lie_upon_others(path: Path) -> None:
    assert not collisions(ElementTree.parse(path).getroot())


def test_words_that_lie_upon_others_are_found() -> None:
    words = '<text x="10" y="50">some words</text><text x="50" y="55">others</text>'
    beyond = '<text x="80" y="90">far too long to fit</text>'
    picture = f'<svg xmlns="{SVG[1:-1]}" viewBox="0 0 100 100">{words}{beyond}</svg>'
    found = collisions(ElementTree.fromstring(picture))
    assert found == [("far too long to fit",), ("some words", "others")]
