"""What makes two jobs the same: the ordered inputs, the function, the settings that shape bytes."""

from __future__ import annotations

import functools
import inspect
import os
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from blake3 import blake3

from millstream.errors import NotPicklable


@dataclass(frozen=True, slots=True, kw_only=True)
class JobKey:
    """inputs, function, source: digests or names, as text. settings: what shapes the bytes."""

    inputs: str
    function: str
    source: str
    settings: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """All of it, as it is recorded."""
        return {
            "inputs": self.inputs,
            "function": self.function,
            "source": self.source,
            "settings": self.settings,
        }

    def digest(self) -> bytes:
        """16 bytes that name the job."""
        return blake3(_canonical(self.to_json())).digest(16)

    def differences(self, recorded: dict[str, Any]) -> list[str]:
        """What differs from a recorded job, in words."""
        words = {
            "inputs": "the inputs (their order, a path, a size, or a modification time)",
            "function": f"the function (now {self.function}, then {recorded.get('function')})",
            "source": f"the source code of {self.function}, or what it was bound to",
        }
        mine = self.to_json()
        found = [text for key, text in words.items() if mine[key] != recorded.get(key)]
        then = recorded.get("settings", {})
        found += [
            f"{key} (now {mine['settings'].get(key)!r}, then {then.get(key)!r})"
            for key in sorted({*mine["settings"], *then})
            if mine["settings"].get(key) != then.get(key)
        ]
        return found


def job_key(fn: Callable[..., Any], inputs: Sequence[Any], settings: dict[str, Any]) -> JobKey:
    """The key of a job; raises NotPicklable for an input that has no canonical bytes."""
    return JobKey(
        inputs=_inputs_digest(inputs),
        function=_name(fn),
        source=blake3(_source(fn)).hexdigest(16),
        settings=settings,
    )


def _inputs_digest(inputs: Sequence[Any]) -> str:
    hasher = blake3()
    if isinstance(inputs, range):
        hasher.update(repr(inputs).encode())
        return hasher.hexdigest(16)
    for value in inputs:
        hasher.update(_canonical(value))
    return hasher.hexdigest(16)


def _name(fn: Any) -> str:
    if isinstance(fn, functools.partial):
        return f"partial({_name(fn.func)})"
    named = fn if hasattr(fn, "__qualname__") else type(fn)
    return f"{named.__module__}.{named.__qualname__}"


def _source(fn: Any) -> bytes:
    """Bytes that change when the function is edited: its source, else its code."""
    if isinstance(fn, functools.partial):
        bound = [*fn.args, *[item for pair in fn.keywords.items() for item in pair]]
        return b"".join([_source(fn.func), *map(_bound, bound)])
    target = fn if inspect.isroutine(fn) else type(fn)
    try:
        return inspect.getsource(target).encode()
    except (OSError, TypeError):
        code = getattr(target, "__code__", None)
        return b"" if code is None else code.co_code + repr(code.co_consts).encode()


def _bound(value: Any) -> bytes:
    """A bound argument, by its value if that pickles, else by its type alone."""
    try:
        return _canonical(value)
    except NotPicklable:
        return _name(value).encode()


def _canonical(value: Any) -> bytes:
    """Equal bytes for equal values, whatever objects they share; a file counts as its state."""
    kind = type(value)
    if kind is str or isinstance(value, PurePath):
        text = str(value)
        return _framed(b"s", text.encode("utf-8", "surrogatepass"), _file_state(text))
    if kind in (int, float, bool, complex) or value is None:
        return _framed(b"n", repr(value).encode())
    if kind is bytes:
        return _framed(b"b", value)
    if kind in (list, tuple):
        return _framed(b"l", *map(_canonical, value))
    if kind is dict:
        return _framed(b"d", *[_canonical(item) for pair in value.items() for item in pair])
    try:
        return _framed(b"p", pickle.dumps(value, protocol=4))
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise NotPicklable(
            f"a {kind.__module__}.{kind.__qualname__} among the inputs cannot be pickled: {error}; "
            "pass what it is made from, and make it inside fn"
        ) from error


def _framed(tag: bytes, *items: bytes) -> bytes:
    return b"".join([tag, str(len(items)).encode(), *[b":%d:" % len(i) + i for i in items]])


def _file_state(text: str) -> bytes:
    """Size and modification time of a file of this name; empty if there is none."""
    if len(text) > 4096 or (os.sep not in text and "." not in text) or "\0" in text:
        return b""
    try:
        state = os.stat(text)  # noqa: PTH116 - millions of inputs: a Path each is slow
    except OSError:
        return b""
    return b"%d:%d" % (state.st_size, state.st_mtime_ns)
