"""What a function sets, and the containers that it fills: its results, not what it is made of.

A list that a function notes its calls in is another one after each call; were it to count, a job
that raised could not go on in the same process.
"""

from __future__ import annotations

import ast
import dis
import inspect
import textwrap
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from types import CodeType, FunctionType

import numpy as np

# The methods that change a list, a dict, a set, a deque, a counter or a bytearray in place.
_CHANGE = {
    *("append", "appendleft", "extend", "extendleft", "insert", "pop", "popleft", "remove"),
    *("clear", "sort", "reverse", "add", "discard", "update", "setdefault", "popitem", "subtract"),
    *("difference_update", "intersection_update", "symmetric_difference_update", "move_to_end"),
}


_CONTAINERS = (list, dict, set, bytearray, deque, np.ndarray)


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """Names that hold what a function makes: set by it, or, if they are containers, filled."""

    set_names: set[str]
    filled_names: set[str]

    def has(self, name: str, value: object) -> bool:
        """Whether a value of that name is a result."""
        is_filled = name in self.filled_names and isinstance(value, _CONTAINERS)
        return is_filled or name in self.set_names


def set_on_self(method: FunctionType) -> set[str]:
    """The attributes that a method sets on its first argument, also by `+=` and its like."""
    own = method.__code__.co_varnames[:1]
    steps = list(dis.get_instructions(method.__code__))
    found = {
        str(step.argval)
        for load, step in pairwise(steps)
        if step.opname in ("STORE_ATTR", "DELETE_ATTR") and load.argval in own
    }
    # Of an object that is loaded, copied, and asked for an attribute, that one is set later on.
    copied = zip(steps, steps[1:], steps[2:], strict=False)
    return found | {
        str(step.argval)
        for load, copy, step in copied
        if load.argval in own and copy.opname == "COPY" and step.opname == "LOAD_ATTR"
    }


def filled(fn: FunctionType) -> set[str]:
    """The names, in a function, of containers that it changes in place."""
    found = set()
    subscripted = False
    for code in codes(fn.__code__):
        steps = list(dis.get_instructions(code))
        subscripted |= any(step.opname in ("STORE_SUBSCR", "DELETE_SUBSCR") for step in steps)
        for load, attribute in pairwise(steps):
            if attribute.opname in ("LOAD_METHOD", "LOAD_ATTR") and attribute.argval in _CHANGE:
                found.add(str(load.argval))
    return found | _subscripted(fn) if subscripted else found


def codes(code: CodeType) -> Iterator[CodeType]:
    """A code object, and those of the functions that it defines."""
    yield code
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from codes(const)


def _subscripted(fn: FunctionType) -> set[str]:
    """What stands before brackets that are assigned to; without the source, whatever it names."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(fn)))
    except (OSError, TypeError, SyntaxError):
        return {name for code in codes(fn.__code__) for name in (*code.co_names, *code.co_freevars)}
    return {
        node.value.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Subscript)
        and isinstance(node.ctx, ast.Store | ast.Del)
        and isinstance(node.value, ast.Name)
    }
