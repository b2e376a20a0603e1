"""A small dataset, and commands run in this process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from datasets import write

from millstream.cli import main
from millstream.store import LocalStore


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return write(tmp_path / "d")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a command: its exit code, stdout and stderr."""

    def call(*arguments: object) -> tuple[int, str, str]:
        code = main(list(map(str, arguments)))
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def document(run: Any) -> Any:
    """Runs a command with --json: the document."""

    def call(*arguments: object, code: int = 0) -> Any:
        found, out, _ = run(*arguments, "--json")
        assert found == code
        return json.loads(out)

    return call
