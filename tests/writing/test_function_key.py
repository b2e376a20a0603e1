"""A function is the same in every process; what is edited in it, or in what it uses, is named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from functools import cache, partial, wraps
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scripts import SOURCE

from millstream.writing.function import FunctionKey, function_key

EVERYTHING = """
    import collections, dataclasses, enum, functools, json, logging, re, threading
    import numpy as np
    from pathlib import Path
    from millstream.writing.function import function_key
    from millstream.writing.identity import job_key

    words = {"alpha", "beta", "gamma", "delta", "epsilon"}
    by_word = {word: len(word) for word in words}
    lock, log, count = threading.Lock(), logging.getLogger("x"), 0
    Point = collections.namedtuple("Point", "x y")
    class Colour(enum.Enum): RED = 1; BLUE = 2
    @dataclasses.dataclass
    class Row:
        name: str
        tags: set = dataclasses.field(default_factory=set)
        size: int = 3
    class Thing:
        kinds = frozenset(words)
        def __init__(self, words): self.words, self.lock = words, lock
        def __call__(self, i): return self.inner(i) in {"one", "two", "three"}
        def inner(self, i): return re.sub("a", "b", str(i))
        @property
        def first(self): return min(self.words)
        @staticmethod
        def still(i): return Row(i)
    @functools.cache
    def cached(i): return by_word
    def even(i): return i == 0 or odd(i - 1)
    def odd(i): return i != 0 and even(i - 1)
    def uses_globals(i):
        global count
        count += 1
        log.info(count)
        return cached(i), even(i), Thing, Row, Colour.RED, lock, np.zeros(2), i in {"x", "y", "z"}
    def make():
        pattern, thing, array = re.compile("a+", re.I), Thing(words), np.arange(5)
        row, point, path = Row("a", set(words)), Point(1, lock), Path("a/b")
        loop = [words]; loop.append(loop)
        def nested(i): return closure(i)
        def closure(i, *, default=lambda i: words, other=frozenset(words)):
            return pattern, thing, array, row, point, path, loop, nested, [closure, odd], object
        return closure
    inputs = [Row(str(i), set(words)) for i in range(3)] + [Thing, Colour.BLUE, Point(1, 2), words]
    functions = {
        "globals": uses_globals, "closure": make(), "object": Thing(words),
        "method": Thing(words).inner, "partial": functools.partial(odd, words, key=by_word),
        "cached": cached, "class": Row, "builtin": len, "lambda": lambda i: {"p", "q", "r"},
    }
    keys = {name: function_key(fn).summary() for name, fn in functions.items()}
    print(json.dumps([keys, job_key(make(), inputs, {}).digest().hex()]))
"""


def test_the_same_in_every_process(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(EVERYTHING))

    def run(seed: str) -> Any:
        environment = {**os.environ, "PYTHONPATH": SOURCE, "PYTHONHASHSEED": seed}
        command = [sys.executable, str(script)]
        return json.loads(subprocess.run(command, env=environment, stdout=-1, check=True).stdout)

    first = run("1")
    assert run("2") == first
    assert run("3") == first
    assert len({tuple(key.values()) for key in first[0].values()}) == len(first[0])


def defined(source: str, name: str = "fn") -> Callable[..., Any]:
    """The function of a name in a module of this source."""
    space: dict[str, Any] = {"__name__": "module"}
    exec(compile(textwrap.dedent(source), "module.py", "exec"), space)
    fn: Callable[..., Any] = space[name]
    return fn


def differences(now: Callable[..., Any], then: Callable[..., Any]) -> list[str]:
    old: FunctionKey = function_key(then)
    return function_key(now).differences(old.summary(), json.loads(json.dumps(old.details())))


MODULE = """
    import math
    import functools
    SIZE = 224
    NAMES = ["a", "b"]
    LATER = 1
    def helper(x):
        return x + 1
    class Base:
        def base(self): return 1
    class Tool(Base):
        level = 3
        def use(self): return self.level
    def unused(x):
        return x
    @functools.lru_cache
    def remembered(x):
        return 5
    def make(size, inner=lambda: 1):
        def fn(x, scale=2, *, flag=None):
            # a comment
            return [helper(x), SIZE, NAMES, math.pi, size, scale, inner, Tool, remembered]
        return fn
    fn = make(7)
"""


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("# a comment", "# another", []),
        ("[helper(x),", "[ helper( x ) ,", []),
        ("return x\n", "return x + 1\n", []),  # of what it does not use
        ("math.pi", "math.e", ["the code of module.make.<locals>.fn"]),
        ("x + 1", "x + 2", ["the code of module.helper"]),
        ("inner=lambda: 1", "inner=lambda: 2", ["the code of module.<lambda>"]),
        ("return self.level", "return -self.level", ["the code of module.Tool.use"]),
        ("def base(self): return 1", "def base(self): return 2", ["the code of module.Base.base"]),
        ("level = 3", "level = 4", ["the attribute `level` of module.Tool (now 4, then 3)"]),
        ("return 5", "return 6", ["the code of module.remembered"]),
        ("SIZE = 224", "SIZE = 256", ["the global variable `SIZE` (now 256, then 224)"]),
        ("SIZE = 224", "SIZE = None", ["the global variable `SIZE` (now None, then 224)"]),
        (
            "SIZE = 224",
            "SIZE = 'large'",
            ["the global variable `SIZE` (now something else, then 224)"],
        ),
        ('["a", "b"]', '["a", "c"]', ["the global variable `NAMES`"]),
        (
            "make(7)",
            "make(8)",
            ["the closed-over variable `size` of module.make.<locals>.fn (now 8, then 7)"],
        ),
        (
            "scale=2",
            "scale=3",
            ["the default of `scale` in module.make.<locals>.fn (now 3, then 2)"],
        ),
        (
            "flag=None",
            "flag=True",
            ["the default of `flag` in module.make.<locals>.fn (now True, then None)"],
        ),
        (
            "SIZE, NAMES",
            "NAMES, LATER",
            [
                "the code of module.make.<locals>.fn",
                "the global variable `LATER` (which it did not use then)",
                "the global variable `SIZE` (which it does not use now)",
            ],
        ),
    ],
)
def test_what_was_edited_is_named(old: str, new: str, expected: list[str]) -> None:
    assert old in MODULE
    assert differences(defined(MODULE.replace(old, new)), defined(MODULE)) == expected


def test_another_function_is_named() -> None:
    (text,) = differences(defined(MODULE, "helper"), defined(MODULE, "unused"))
    assert text == "the function (now module.helper, then module.unused)"


def test_bound_arguments_and_attributes_are_named() -> None:
    class Reader:
        def __init__(self, size: int, names: set[str]) -> None:
            self.size, self.names, self.lock = size, names, object()

        def read(self, i: int) -> int:
            return i

        def __call__(self, i: int) -> int:
            return i

    name = f"{Reader.__module__}.{Reader.__qualname__}"
    for one, other in [
        (Reader(1, {"a"}), Reader(2, {"a"})),
        (Reader(1, {"a"}).read, Reader(2, {"a"}).read),
    ]:
        expected = [f"the attribute `size` of the {name} (now 1, then 2)"]
        assert differences(one, other) == expected
    assert differences(Reader(1, {"a"}), Reader(1, {"b"})) == [
        f"the attribute `names` of the {name}"
    ]
    owner = "partial(builtins.pow)"
    assert differences(partial(pow, 2), partial(pow, 3)) == [
        f"the argument `0` bound in {owner} (now 2, then 3)"
    ]
    assert differences(partial(pow, mod=2), partial(pow, mod=3)) == [
        f"the argument `mod` bound in {owner} (now 2, then 3)"
    ]


SETTINGS = """
    import argparse
    import types
    class Steps:
        def run(self, i):
            return self.step(i)
        def step(self, i):
            return i + 1
    parsed = argparse.Namespace(size=1)
    simple = types.SimpleNamespace(size=2)
    def fn(i):
        return parsed.size, simple.size
    method = Steps().run
"""


@pytest.mark.parametrize(
    ("name", "old", "new", "expected"),
    [
        ("fn", "(size=1)", "(size=5)", "the attribute `size` of the argparse.Namespace (now 5"),
        ("fn", "(size=2)", "(size=5)", "the attribute `size` of the types.SimpleNamespace (now 5"),
        ("method", "i + 1", "i + 2", "the code of module.Steps.step"),
    ],
)
def test_options_and_the_class_of_a_method_are_followed(
    name: str, old: str, new: str, expected: str
) -> None:
    assert old in SETTINGS
    edited = defined(SETTINGS.replace(old, new), name)
    (found,) = differences(edited, defined(SETTINGS, name))
    assert found.startswith(expected)
    assert differences(defined(SETTINGS, name), defined(SETTINGS, name)) == []


def test_built_in_functions_have_names_and_objects() -> None:
    assert function_key(np.sqrt) != function_key(np.exp)
    assert function_key(len) != function_key(max)
    assert differences({"a": 1}.get, {"a": 2}.get) == ["the object that builtins.dict.get is of"]
    assert differences({"a": {1, 2}}.get, {"a": {2, 1}}.get) == []


def test_many_differences_are_counted() -> None:
    names = [f"v{n}" for n in range(9)]
    source = f"def fn(x):\n    return [{', '.join(names)}]\n"
    old = "".join(f"{name} = 1\n" for name in names) + source
    found = differences(defined(old.replace("= 1", "= 2")), defined(old))
    assert len(found) == 6
    assert found[-1] == "and 4 more"


def outer(value: Any) -> Callable[[int], Any]:
    return lambda i: (value, i)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({1, 2}, {2, 1}, True),
        ({"a": {1}, "b": 2}, {"b": 2, "a": {1}}, True),
        (object(), object(), True),
        (np.arange(3), np.arange(3), True),
        (np.arange(3), np.arange(1, 4), False),
        (np.array([{1}]), np.array([{2}]), False),
        ({1: [1]}, {1: [2]}, False),
        (Path("a"), Path("b"), False),
        (outer(1), outer(1), True),
        (outer(1), outer(2), False),
        ([outer(1)], [outer(2)], False),
        (partial(outer(1), 5), partial(outer(1), 6), False),
        (b"a", b"b", False),
        (1, True, False),
        (np, json, False),
        (len, max, False),
        (np.sqrt, np.exp, False),
        (int, str, False),
    ],
)
def test_values_that_are_closed_over(one: Any, other: Any, same: bool) -> None:
    assert (function_key(outer(one)) == function_key(outer(other))) == same


def test_calling_a_function_does_not_change_it() -> None:
    calls = 0
    made: Any = None

    def fn(i: int) -> int:
        nonlocal calls, made
        calls, made = calls + 1, [i]
        return sum(x * 2 for x in range(i % 3))

    @wraps(fn)
    def wrapped(i: int) -> int:
        return remembered(i % 5) + fn(i)

    @cache
    def remembered(i: int) -> int:
        return i

    before = function_key(wrapped)
    for i in range(2_000):  # until the interpreter has specialised its code
        wrapped(i)
    assert function_key(wrapped) == before


def test_a_variable_that_has_no_value_yet() -> None:
    def make() -> Callable[[], int]:
        def fn() -> int:
            return later

        early = function_key(fn)
        later = 3
        assert function_key(fn) != early
        return fn

    assert make()() == 3


NOTES: list[int] = []
COUNTS: dict[int, int] = {}
CLASSES = ["cat", "dog"]


def test_what_a_function_fills_is_not_what_it_is_made_of() -> None:
    seen, by_name, last = [0], {"a": 1}, {1}

    def notes(i: int) -> list[str]:
        seen.append(i)
        NOTES.append(i)
        COUNTS[i] = COUNTS.get(i, 0) + 1
        by_name["a"] += 1
        last.add(i)
        return CLASSES

    class Counter:
        def __init__(self, size: int) -> None:
            self.size, self.calls, self.names = size, 0, [""]

        def __call__(self, i: int) -> int:
            self.calls += 1
            self.names.append(str(i))
            return self.size

    counter = Counter(3)
    lambda_notes = lambda i: seen.append(i) or i  # noqa: E731
    for fn in (notes, counter, lambda_notes, partial(notes), counter.__call__):
        before = function_key(fn).summary()
        fn(1)
        assert function_key(fn).summary() == before
    before = function_key(notes).summary()
    CLASSES.append("bird")
    assert function_key(notes).summary() != before
    counter.size = 4
    assert function_key(counter).summary() != function_key(Counter(3)).summary()


def test_what_is_no_container_counts_though_its_function_fills_others() -> None:
    keys = set()
    for size in (1, 2):
        names = {"size": size, "results": {}}
        exec("def fn(i):\n    results[i] = size\n    return size", names)  # without source
        keys.add(function_key(names["fn"]).summary()["digest"])
    assert len(keys) == 2

    class Sized:
        def __init__(self, size: int) -> None:
            self.size = size

        def __call__(self, other: Any) -> int:
            other.size = 3  # another object's
            return self.size

    assert function_key(Sized(1)).summary() != function_key(Sized(2)).summary()
