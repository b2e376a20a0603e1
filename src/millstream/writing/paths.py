"""Which texts may name files."""

from __future__ import annotations

import os


def may_be_path(text: str) -> bool:
    """Whether a text is looked at as the name of a file too."""
    return len(text) <= 4096 and (os.sep in text or "." in text) and "\0" not in text
