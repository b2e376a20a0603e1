"""What a job's function is made of: its code, and the values that it uses besides its input.

Code counts by what it was compiled to: comments and formatting do not matter, a lambda is told
from its neighbours, and what was edited on the disk after it was loaded is not mistaken for it.
The Python version does matter. Values count as far as they have canonical bytes; other objects
by the name of their class alone, since nothing in them is sure to be the same in two processes.
"""

from __future__ import annotations

import functools
import platform
from collections.abc import Callable
from dataclasses import dataclass
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from blake3 import blake3

from millstream.writing.canonical import Canonical, framed, full_name
from millstream.writing.uses import Uses, function_name

MOST_NAMED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A digest, and for a number, a bool or None what it is.

    Nothing else is ever written down: a string may be a password.
    """

    digest: str
    shown: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionKey:
    """name: with its module. parts: by what they are called in a message."""

    name: str
    parts: dict[str, Part]

    def summary(self) -> dict[str, Any]:
        """What tells it from another function."""
        content = b"".join(
            framed(b"", label.encode()) + framed(b"", part.digest.encode())
            for label, part in sorted(self.parts.items())
        )
        return {"name": self.name, "digest": blake3(content).hexdigest(16)}

    def details(self) -> dict[str, Any]:
        """What tells how it differs."""
        parts = {label: [part.digest, part.shown] for label, part in self.parts.items()}
        return {"parts": parts, "python": platform.python_version()}

    def differences(self, then: dict[str, Any], details: dict[str, Any] | None) -> list[str]:
        """How this function differs from a recorded one, in words."""
        if self.name != then["name"]:
            return [f"the function (now {self.name}, then {then['name']})"]
        if self.summary() == then:
            return []
        if details is None:
            return [f"the code of {self.name}, or a value that it uses"]
        old = {
            label: Part(digest=some[0], shown=some[1]) for label, some in details["parts"].items()
        }
        labels = [*self.parts, *(label for label in old if label not in self.parts)]
        found = [
            f"{label}{_change(self.parts.get(label), old.get(label))}"
            for label in labels
            if self.parts.get(label) != old.get(label)
        ]
        if len(found) > MOST_NAMED:
            found[MOST_NAMED:] = [f"and {len(found) - MOST_NAMED} more"]
        python = platform.python_version()
        if python != details["python"]:
            found.append(f"Python, which compiles it (now {python}, then {details['python']})")
        return found


def _change(now: Part | None, then: Part | None) -> str:
    if then is None:
        return " (which it did not use then)"
    if now is None:
        return " (which it does not use now)"
    if now.shown is None and then.shown is None:
        return ""
    return f" (now {now.shown or 'something else'}, then {then.shown or 'something else'})"


def function_key(fn: Callable[..., Any]) -> FunctionKey:
    """The key of a function, a class, a partial, a method, or an object that can be called."""
    return _PartBytes().key(fn)


def function_bytes(fn: Callable[..., Any]) -> bytes:
    """Canonical bytes of a function."""
    return _PartBytes().bytes_of(fn)


class _PartBytes(Canonical):
    def key(self, fn: Callable[..., Any]) -> FunctionKey:
        parts: dict[str, Part] = {}
        for label, value in Uses(fn).parts():
            name, count = label, 1
            while name in parts:  # two functions of one name
                name, count = f"{label} ({count + 1})", count + 1
            digest = blake3(self.bytes_of(value)).hexdigest(16)
            parts[name] = Part(digest=digest, shown=_shown(value))
        return FunctionKey(name=function_name(fn), parts=parts)

    def others(self, value: Any) -> bytes:
        match value:
            case CodeType():
                return framed(b"k", self.bytes_of(_code(value)))
            case FunctionType() | functools.partial() | MethodType():
                return framed(b"f", self.bytes_of(self.key(value).summary()))
            case ModuleType():
                return framed(b"g", value.__name__.encode())
        return framed(b"o", full_name(value).encode())


def _shown(value: object) -> str | None:
    plain = value is None or type(value) in (bool, float)
    return repr(value) if plain or (type(value) is int and abs(value) < 1 << 64) else None


def _code(code: CodeType) -> tuple[object, ...]:
    """All that decides what code does; not where it stands."""
    return (
        (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags),
        (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars),
        (code.co_code, code.co_consts, code.co_exceptiontable),
    )
