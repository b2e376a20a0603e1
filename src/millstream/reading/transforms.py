"""The user's own function on each sample, with keyed randomness where it asks for it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from millstream.errors import UsageError

Transform = Callable[..., Any]
MakeRng = Callable[[], np.random.Generator]


class Transforms:
    """Functions applied one after another; those with a parameter `rng` get a generator."""

    def __init__(self, given: Transform | Sequence[Transform] | None) -> None:
        functions = [] if given is None else [given] if callable(given) else list(given)
        for function in functions:
            if not callable(function):
                raise UsageError(f"transform holds a {type(function).__name__}, not a function")
        self._steps = [(function, _takes_rng(function)) for function in functions]

    def __bool__(self) -> bool:
        return bool(self._steps)

    def __call__(self, sample: Any, rng: MakeRng) -> Any:
        """The sample after all functions; they share one generator, made at first need."""
        generator: np.random.Generator | None = None
        for function, takes_rng in self._steps:
            if takes_rng:
                generator = generator or rng()
                sample = function(sample, rng=generator)
            else:
                sample = function(sample)
        return sample


def _takes_rng(function: Transform) -> bool:
    try:
        return "rng" in inspect.signature(function).parameters
    except (TypeError, ValueError):  # some builtins have no signature
        return False
