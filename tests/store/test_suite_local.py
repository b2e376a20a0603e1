"""The conformance suite on the stores that need no server."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from millstream.store import Store, open_store
from millstream.testing import StoreSuite


class TestLocal(StoreSuite):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.root = tmp_path

    def make_store(self) -> Store:
        return open_store(f"local:{self.root}")


class TestMemory(StoreSuite):
    def make_store(self) -> Store:
        return open_store(f"memory://suite/{os.getpid()}")
