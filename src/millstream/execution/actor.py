"""The worker's side on a Ray cluster: an actor. It may find another millstream there, or none."""

from __future__ import annotations

import sys
from importlib import metadata
from typing import Any


def versions() -> dict[str, str]:
    """Of all that decides which bytes are written."""
    found = {name: metadata.version(name) for name in ("numpy", "zstandard")}
    # Above this package, which is not to import it; it is there, as this was imported.
    found["millstream"] = sys.modules["millstream"].__version__
    return {"Python": python_version(), **found}


def python_version() -> str:
    """As in "3.11"."""
    return ".".join(map(str, sys.version_info[:2]))


def actor_class() -> type:
    """The class of the actors: being made in a function, it travels as code.

    So it runs where this module cannot be imported, and can say so.
    """

    class MillstreamWorker:
        _work: Any

        def begin(
            self, python: str, paths: list[str], begin: bytes, number: int
        ) -> tuple[str, dict[str, str], str]:
            """The node, the versions found there, and why there are none, if there are none."""
            import sys
            from pathlib import Path

            import ray

            node = str(ray.get_runtime_context().get_node_id())
            if (here := ".".join(map(str, sys.version_info[:2]))) != python:
                return node, {"Python": here}, ""
            lacking = [path for path in paths if path not in sys.path and Path(path).exists()]
            sys.path[:0] = lacking
            try:
                from millstream.execution.actor import versions
                from millstream.execution.answers import begun
            except ImportError as error:
                return node, {}, f"{type(error).__name__}: {error}"
            self._work = begun(begin, number)
            return node, versions(), ""

        def run(self, task: bytes) -> bytes:
            """The answer to a task."""
            from millstream.execution.answers import answer, packed

            return packed(*answer(self._work, task))

        def here(self) -> None:
            """Answers if the actor is there."""

    return MillstreamWorker
