"""Small datasets to be mixed: two that are alike, and one that is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from mixed_data import ROWS, Open, alike

import millstream as ms


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
