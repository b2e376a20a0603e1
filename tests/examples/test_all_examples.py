"""What holds for every example."""

from __future__ import annotations

import pytest
from running import DEMO, EXAMPLES, run

NAMES = sorted(path.stem for path in EXAMPLES.glob("*.py"))
PROGRAMS = [name for name in NAMES if name not in ("contact_sheet", "object_storage")]
LONGEST = 80


@pytest.mark.parametrize("name", [name for name in NAMES if name not in DEMO])
def test_an_example_is_short(name: str) -> None:
    assert len((EXAMPLES / f"{name}.py").read_text().splitlines()) < LONGEST


@pytest.mark.parametrize("name", PROGRAMS)
def test_an_example_says_how_it_is_called(name: str) -> None:
    said = run(f"{name}.py", "--help")
    assert said.startswith(f"usage: {name}.py")
    first = (EXAMPLES / f"{name}.py").read_text().splitlines()[0].removeprefix('"""')
    assert first.split()[:5] == said.split("\n\n")[1].split()[:5]


def test_each_example_is_in_the_list() -> None:
    listed = (EXAMPLES / "README.md").read_text()
    assert [name for name in NAMES if f"`{name}.py`" not in listed] == []
