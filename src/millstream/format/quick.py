"""A function made for one structure of samples, as dataclasses make theirs.

Most samples are flat dicts, all alike. For these a loop over fields costs more than the fields do,
so it is written out. For {"id": int, "v": ndarray} that is

    def add(sample):
        if type(sample) is dict and len(sample) == 2:
            try:
                v0 = sample[k0]; v1 = sample[k1]
                if type(v0) is t0 and type(v1) is t1 and q1(v1):
                    p0(v0); p1(v1)
                    counter.rows += 1
                    return
            except Exception:
                undo()
        slow(sample)

where k are the keys, t the types, q the tests and p what takes a value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from types import CodeType
from typing import Any, Protocol, cast

from millstream.format.tree import LEAF, Tree

MAX_FIELDS = 256

Test = Callable[[Any], bool]


class Counter(Protocol):
    """Who counts the samples. undo: takes back what some pushes did. slow: adds any sample."""

    rows: int

    def undo(self) -> None: ...

    def slow(self, sample: Any) -> None: ...


def adder(
    tree: Tree,
    types: Sequence[type],
    tests: Sequence[Test | None],
    pushes: Sequence[Callable[[Any], object]],
    counter: Counter,
) -> Callable[[Any], None] | None:
    """Gives a sample's leaves to `pushes` if they have the types and pass the tests.

    Other samples, and those for which that raises, are left to `slow`. None for a structure that
    is no flat dict.
    """
    flat = tree.container == "dict" and all(child == LEAF for child in tree.children)
    if not flat or not 0 < len(types) <= MAX_FIELDS:
        return None
    names: dict[str, object] = {"counter": counter, "undo": counter.undo, "slow": counter.slow}
    for letter, values in zip("ktqp", (tree.keys, types, tests, pushes), strict=True):
        names |= {f"{letter}{number}": value for number, value in enumerate(values)}
    exec(_code(tuple(test is not None for test in tests)), names)
    return cast(Callable[[Any], None], names["add"])


@lru_cache(maxsize=64)
def _code(tested: tuple[bool, ...]) -> CodeType:
    """Nothing of a sample is in the text: its keys and types are values that the names have."""
    fields = range(len(tested))
    values = "; ".join(f"v{i} = sample[k{i}]" for i in fields)
    checks = [f"type(v{i}) is t{i}" + (f" and q{i}(v{i})" if tested[i] else "") for i in fields]
    pushes = "; ".join(f"p{i}(v{i})" for i in fields)
    text = f"""
def add(sample):
    if type(sample) is dict and len(sample) == {len(tested)}:
        try:
            {values}
            if {" and ".join(checks)}:
                {pushes}
                counter.rows += 1
                return
        except Exception:
            undo()
    slow(sample)
"""
    return compile(text, "<a function made by millstream.format.quick>", "exec")
