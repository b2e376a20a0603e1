"""Draws the pictures of docs/order.md from plans: python docs/pictures/draw.py [FOLDER]

Nothing is drawn by hand: which lane, window, rank and source a row has is asked of millstream.plan,
so the pictures are what the library does. A test draws them again and compares.
"""

from __future__ import annotations

import sys
from pathlib import Path

from dividing import ranks, resume
from mixing import mixture
from shuffling import lanes, windows

PICTURES = {
    "lanes": lanes,
    "windows": windows,
    "ranks": ranks,
    "resume": resume,
    "mixture": mixture,
}


def main(folder: Path) -> None:
    """Writes all pictures to a folder."""
    for name, draw in PICTURES.items():
        (folder / f"{name}.svg").write_text(draw().svg(), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
