"""Small datasets to be mixed: two that are alike, and one that is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import millstream as ms

Open = Callable[..., ms.StreamingDataset]
ROWS = {"a": 700, "b": 300, "c": 120}


def alike(name: str, i: int) -> dict[str, Any]:
    """A sample of the datasets a and b."""
    return {"from": name, "id": i, "vector": np.full(3, i, np.float32)}


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("mixed")
    makers = {
        "a": lambda i: alike("a", i),
        "b": lambda i: alike("b", i),
        "c": lambda i: {"other": i},
    }
    for name, fn in makers.items():
        ms.optimize(
            fn, range(ROWS[name]), place / name, chunk_size=40, num_workers=0, verbose=False
        )
    return place


@pytest.fixture(scope="session")
def opened(folder: Path) -> Open:
    """Opens one of the datasets by its name."""
    return lambda name, **options: ms.StreamingDataset(folder / name, **options)
