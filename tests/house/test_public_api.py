"""The public names and signatures change on purpose only."""

from __future__ import annotations

import json

from public_api import GOLDEN, surface

import millstream

HOW = (
    "the public surface is no longer what tests/house/public_api.json says. If that is meant:\n"
    "python tests/house/public_api.py --write, look at the difference, add a line to CHANGELOG.md"
)


def test_names_and_signatures_are_the_agreed_ones() -> None:
    assert surface() == json.loads(GOLDEN.read_text(encoding="utf-8")), HOW


def test_the_names_are_sorted_and_listed() -> None:
    assert millstream.__all__ == sorted(set(millstream.__all__))
    assert set(millstream.__all__) <= set(dir(millstream))
