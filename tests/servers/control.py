"""The child's side of process.Child.ask: a line of JSON in, one out, until the starter is gone."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping


def serve(calls: Mapping[str, Callable[..., object]]) -> None:
    """Answers calls with what these functions return, and ends this process with its starter."""
    for line in sys.stdin.buffer:
        asked = json.loads(line)
        try:
            answer = {"value": calls[asked["call"]](**asked["arguments"])}
        except Exception as error:  # the starter raises it, with its name
            answer = {"error": f"{type(error).__name__}: {error}"}
        sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
        sys.stdout.buffer.flush()
    os._exit(0)
