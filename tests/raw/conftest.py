"""A tree of files, made once."""

from __future__ import annotations

from pathlib import Path

import pytest
import trees


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("raw") / "tree"


@pytest.fixture(scope="session")
def files(root: Path) -> dict[str, bytes]:
    """The contents of the files below `root`, in the order of their keys."""
    return trees.make(root)
