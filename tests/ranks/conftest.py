"""The data that the ranks of these tests read."""

from __future__ import annotations

from pathlib import Path

import pytest
from ranked_data import write


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("ranked"))
