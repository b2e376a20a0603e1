"""What a function uses besides its input: code and values, each with a name for a message.

Closures, defaults and bound arguments are followed wherever they lead. Global names are followed
in the module that the function is from, and there into functions and classes of that module, and
into namespaces, which often hold a script's options; what comes from other modules changes with
its library, and counts by its name.
"""

from __future__ import annotations

import dis
import functools
from argparse import Namespace
from collections.abc import Iterator
from types import (
    BuiltinFunctionType,
    CodeType,
    FunctionType,
    MethodType,
    ModuleType,
    SimpleNamespace,
)
from typing import Any

from millstream.writing.canonical import full_name
from millstream.writing.filled import Results, codes, filled, set_on_self

Named = tuple[str, Any]

# The methods in which an object is given its attributes.
_MAKERS = {"__init__", "__new__", "__post_init__", "__setstate__"}


def function_name(fn: object) -> str:
    """The name of whatever can be called, with its module."""
    if isinstance(fn, functools.partial):
        return f"partial({function_name(fn.func)})"
    return full_name(fn)


class Uses:
    """The parts of a function, a class, a partial, a method, or an object that can be called."""

    def __init__(self, fn: object) -> None:
        self._root = fn
        self._home = _module(fn)
        self._seen = {id(fn)}
        self._globals: set[str] = set()

    def parts(self) -> Iterator[Named]:
        """Code objects and values; instead of a function that has parts, its parts."""
        yield from self._follow(self._root)

    def _follow(self, fn: Any) -> Iterator[Named]:
        for name, value in self._parts(fn, function_name(fn)):
            if not self._has_parts(value):
                yield name, value
            elif id(value) not in self._seen:
                self._seen.add(id(value))
                yield from self._follow(value)

    def _has_parts(self, value: Any) -> bool:
        if isinstance(value, type):
            return value.__module__ == self._home
        if isinstance(value, FunctionType | functools.partial | MethodType):
            return True
        return isinstance(value, Namespace | SimpleNamespace) or _wraps(value)

    def _parts(self, fn: Any, owner: str) -> Iterator[Named]:
        match fn:
            case FunctionType():
                yield from self._of_function(fn, owner)
            case functools.partial():
                yield owner, fn.func
                bound = [*enumerate(fn.args), *sorted(fn.keywords.items())]
                for place, value in bound:
                    yield f"the argument `{place}` bound in {owner}", value
            case MethodType():
                yield owner, fn.__func__
                of = fn.__self__
                yield f"the class of {owner}", of if isinstance(of, type) else type(of)
                yield from _attributes(of)
            case BuiltinFunctionType():
                yield f"the object that {owner} is of", fn.__self__
            case type():
                for base in fn.__mro__:
                    if base.__module__ == self._home:
                        yield from _members(base)
            case _ if _wraps(fn):  # functools.cache and its like
                yield owner, fn.__wrapped__
            case _:
                yield owner, type(fn)
                yield from _attributes(fn)

    def _of_function(self, fn: FunctionType, owner: str) -> Iterator[Named]:
        code = fn.__code__
        yield f"the code of {owner}", code
        defaults = fn.__defaults__ or ()
        names = code.co_varnames[code.co_argcount - len(defaults) : code.co_argcount]
        keywords = sorted((fn.__kwdefaults__ or {}).items())
        for name, value in [*zip(names, defaults, strict=True), *keywords]:
            yield f"the default of `{name}` in {owner}", value
        results = Results(set_names=_stored(code), filled_names=filled(fn))
        for name, cell in zip(code.co_freevars, fn.__closure__ or (), strict=True):
            if not results.has(name, value := _contents(cell)):
                yield f"the closed-over variable `{name}` of {owner}", value
        if str(fn.__module__) == self._home:
            yield from self._of_module(fn, results)

    def _of_module(self, fn: FunctionType, results: Results) -> Iterator[Named]:
        """The globals that a function names, except modules, and its results."""
        for name in sorted(_loaded(fn.__code__) - self._globals):
            value = fn.__globals__.get(name)
            if name not in fn.__globals__ or isinstance(value, ModuleType):
                continue
            if results.has(name, value):
                continue
            self._globals.add(name)
            if isinstance(value, FunctionType | type) and value.__module__ != self._home:
                value = full_name(value)
            yield f"the global variable `{name}`", value


def _module(fn: Any) -> str:
    while not isinstance(fn, FunctionType | type):
        match fn:
            case functools.partial():
                fn = fn.func
            case MethodType():
                fn = fn.__func__
            case _:
                fn = fn.__wrapped__ if _wraps(fn) else type(fn)
    return str(fn.__module__)


def _wraps(value: object) -> bool:
    """Whether this is a function in a shell that is not written in Python."""
    return isinstance(getattr(value, "__dict__", {}).get("__wrapped__"), FunctionType)


def _attributes(value: Any) -> Iterator[Named]:
    """The state of an object, by its attributes, but for what its own methods set or fill."""
    if isinstance(value, type | ModuleType):
        return
    slots = [vars(kind).get("__slots__", ()) for kind in type(value).__mro__]
    names = [name for some in slots for name in ((some,) if isinstance(some, str) else some)]
    state = {name: getattr(value, name) for name in names if hasattr(value, name)}
    state.update(getattr(value, "__dict__", {}))
    results = _results_of_methods(type(value))
    for name in sorted(state):
        if not results.has(name, state[name]):
            yield f"the attribute `{name}` of the {full_name(type(value))}", state[name]


def _results_of_methods(kind: type) -> Results:
    """Of an object: the attributes that its methods, but for its makers, set or fill."""
    methods = [
        method
        for base in kind.__mro__
        for name, method in vars(base).items()
        if isinstance(method, FunctionType) and name not in _MAKERS
    ]
    return Results(
        set_names={name for method in methods for name in set_on_self(method)},
        filled_names={name for method in methods for name in filled(method)},
    )


def _members(kind: type) -> Iterator[Named]:
    """The methods and the plain attributes of a class."""
    for name, member in sorted(vars(kind).items()):
        for inner in ("__func__", "fget", "func", "__wrapped__"):
            member = getattr(member, inner, member)
        if isinstance(member, FunctionType):
            if not name.startswith("__annotate"):
                yield name, member
        elif not name.startswith("__"):
            yield f"the attribute `{name}` of {full_name(kind)}", member


def _contents(cell: Any) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # it has none yet
        return None


def _names(code: CodeType, *operations: str) -> set[str]:
    return {
        str(step.argval)
        for some in codes(code)
        for step in dis.get_instructions(some)
        if step.opname.startswith(operations)
    }


def _loaded(code: CodeType) -> set[str]:
    return _names(code, "LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")


def _stored(code: CodeType) -> set[str]:
    """What a function sets: its results, not what they are made from."""
    return _names(code, "STORE_GLOBAL", "STORE_DEREF", "DELETE_GLOBAL", "DELETE_DEREF")
