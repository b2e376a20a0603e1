"""What jobs of tests make of inputs, which are numbers: samples of several kinds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np


def sample(i: int) -> Iterator[dict[str, Any]]:
    """None, one or two, of values of several sizes and shapes."""
    for n in range(i % 3):
        yield {"id": i, "text": f"{i} " * (i * 37 % 90), "odd": np.arange(i % 4), "n": n}


def document(i: int) -> np.ndarray:
    """Tokens."""
    return np.arange(i * 7 % 300, dtype=np.uint16)


def columns(i: int) -> dict[str, Any]:
    """Five samples at once."""
    return {"id": np.arange(i, i + 5), "text": [f"{n}" * n for n in range(5)]}


def dataset(objects: dict[str, bytes]) -> dict[str, bytes]:
    """What lies at a place but for the records of runs."""
    return {name: content for name, content in objects.items() if not name.startswith("runs/")}
