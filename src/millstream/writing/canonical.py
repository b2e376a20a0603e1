"""Values as bytes: equal for equal values, in every process, whatever objects they share.

Pickles will not do: the order of a set depends on the process, and two equal values pickle
differently if one of them holds an object twice.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from datetime import date, time, timedelta
from enum import Enum
from pathlib import PurePath
from typing import Any

import numpy as np
from blake3 import blake3

# What their repr says is all there is to them.
_AS_REPR = (bool, float, complex, type(None), type(...), range, date, time, timedelta)
_BUILTIN = (list, tuple, set, frozenset, dict)


def framed(tag: bytes, content: bytes) -> bytes:
    """Bytes that can be joined to others of this kind without a doubt about where they end."""
    return b"%b%d:%b" % (tag, len(content), content)


def full_name(value: object) -> str:
    """The name, with its module, of a function or a class, or of the class of anything else."""
    if not isinstance(getattr(value, "__qualname__", None), str):
        value = type(value)
    named: Any = value
    return f"{getattr(named, '__module__', None) or 'builtins'}.{named.__qualname__}"


class Canonical(ABC):
    """Plain values, containers, arrays, dataclasses, enums, paths and patterns as bytes.

    Sets and dicts count without their order. What becomes of all else is for `others` to say.
    """

    def __init__(self) -> None:
        self._open: dict[int, int] = {}  # what is being taken apart, by id: cycles end there

    @abstractmethod
    def others(self, value: Any) -> bytes:
        """The bytes of an object of no kind that this class knows."""

    def text(self, value: str) -> bytes:
        """The bytes of a string."""
        return framed(b"s", value.encode("utf-8", "surrogatepass"))

    def path(self, value: PurePath) -> bytes:
        """The bytes of a path."""
        return framed(b"p", self.text(str(value)))

    def bytes_of(self, value: Any) -> bytes:
        """The bytes of any value; raises what `others` raises."""
        kind = type(value)
        if kind is str:
            return self.text(value)
        if kind is int:
            return framed(b"i", b"%x" % value)
        if kind in _AS_REPR:
            return framed(b"r", repr(value).encode())
        if kind in (bytes, bytearray):
            return framed(b"b", value)
        if isinstance(value, PurePath):
            return self.path(value)
        if id(value) in self._open:
            return framed(b"^", b"%d" % self._open[id(value)])
        self._open[id(value)] = len(self._open)
        try:
            return self._apart(value)
        finally:
            del self._open[id(value)]

    def _apart(self, value: Any) -> bytes:
        match value:
            case list():
                return self._typed(value, b"l", map(self.bytes_of, value))
            case tuple():
                return self._typed(value, b"t", map(self.bytes_of, value))
            case set() | frozenset():
                return self._typed(value, b"u", sorted(map(self.bytes_of, value)))
            case dict():
                return self._typed(value, b"d", sorted(map(self._pair, value.items())))
            case np.memmap():  # a large file; what is in it, its owner knows
                place = (str(value.filename), value.offset, str(value.dtype), value.shape)
                return self._typed(value, b"m", map(self.bytes_of, place))
            case np.generic() | np.ndarray():
                return self._typed(value, b"a", self._array(np.asarray(value)))
            case Enum():
                return self._typed(value, b"e", [self.text(value.name)])
            case re.Pattern():
                return self._typed(value, b"x", map(self.bytes_of, (value.pattern, value.flags)))
        if is_dataclass(value) and not isinstance(value, type):
            pairs = ((field.name, getattr(value, field.name, None)) for field in fields(value))
            return self._typed(value, b"c", map(self._pair, pairs))
        return self.others(value)

    def _typed(self, value: object, tag: bytes, items: Iterable[bytes]) -> bytes:
        name = b"" if type(value) in _BUILTIN else full_name(type(value)).encode()
        return framed(tag, framed(b"", name) + b"".join(items))

    def _pair(self, pair: tuple[Any, Any]) -> bytes:
        return self.bytes_of(pair[0]) + self.bytes_of(pair[1])

    def _array(self, array: np.ndarray[Any, Any]) -> Iterable[bytes]:
        yield self.bytes_of((str(array.dtype), array.shape))
        if array.dtype.hasobject:
            yield self.bytes_of(array.tolist())
        else:
            content = np.ascontiguousarray(array).reshape(-1)
            yield blake3(content.view(np.uint8).data if array.nbytes else b"").digest()
