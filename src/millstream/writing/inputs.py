"""Which inputs a job has, as digests that tell later which of them changed.

Up to 65,536 inputs have a digest each, more share one in blocks. An input counts by its value, a
string or path in it that names a file also by the size and the modification time of that file.
"""

from __future__ import annotations

import copyreg
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from types import BuiltinFunctionType, FunctionType
from typing import Any

import numpy as np
import numpy.typing as npt
from blake3 import blake3
from xxhash import xxh3_64_intdigest

from millstream.errors import NotPicklable
from millstream.writing.canonical import Canonical, framed, full_name
from millstream.writing.function import function_bytes
from millstream.writing.paths import may_be_path
from millstream.writing.urls import short

MAX_BLOCKS = 65_536

Digests = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InputsKey:
    """digest: of all. values, files: of blocks of inputs, and of the files they name; u64."""

    inputs: Sequence[Any] = field(repr=False)
    digest: str
    block: int
    values: Digests
    files: Digests

    def summary(self) -> dict[str, Any]:
        """What tells them from other inputs."""
        return {"count": len(self.inputs), "text": _text(self.inputs), "digest": self.digest}

    def to_bytes(self) -> bytes:
        """What tells which are different: the size of a block, then both rows of digests."""
        return (
            np.concatenate([[np.uint64(self.block)], self.values, self.files])
            .astype("<u8")
            .tobytes()
        )

    def differences(self, then: dict[str, Any], details: bytes | None) -> list[str]:
        """How these inputs differ from recorded ones, in words."""
        if self.summary() == then:
            return []
        numbers = np.frombuffer(details or b"", "<u8")
        if then["text"] or _text(self.inputs) or len(numbers) < 3:
            now, before = map(_described, (self.summary(), then))
            return [f"the inputs (now {now}, then {before})" if now != before else "the inputs"]
        block, digests = int(numbers[0]), numbers[1:].reshape(2, -1)
        mine = self if self.block == block else inputs_key(self.inputs, block)
        return _changes(mine, then["count"], *digests)


def inputs_key(inputs: Sequence[Any], block: int | None = None) -> InputsKey:
    """The key of inputs; raises NotPicklable for one that has no canonical bytes.

    block: how many share a digest; by default the least power of two that keeps to MAX_BLOCKS.
    """
    if isinstance(inputs, range):
        none, digest = np.zeros(0, np.uint64), blake3(repr(inputs).encode()).hexdigest(16)
        return InputsKey(inputs=inputs, digest=digest, block=1, values=none, files=none)
    block = block or 1 << (-(-len(inputs) // MAX_BLOCKS) - 1).bit_length()
    values, files = np.zeros((2, -(-len(inputs) // block)), np.uint64)
    hasher, encoder = blake3(), _InputBytes()
    for number, start in enumerate(range(0, len(inputs), block)):
        contents, states = encoder.block(inputs[start : start + block])
        hasher.update(framed(b"", contents) + states)
        values[number], files[number] = xxh3_64_intdigest(contents), xxh3_64_intdigest(states)
    return InputsKey(
        inputs=inputs, digest=hasher.hexdigest(16), block=block, values=values, files=files
    )


class _InputBytes(Canonical):
    """Other objects count by what pickle would take them apart to."""

    def __init__(self) -> None:
        super().__init__()
        self._names: list[str] = []

    def block(self, inputs: Sequence[Any]) -> tuple[bytes, bytes]:
        """The bytes of some inputs, and the states of the files they name."""
        contents: list[bytes] = []
        states: list[bytes] = []
        for value in inputs:
            contents.append(self.bytes_of(value))
            if self._names:
                states += map(_file_state, self._names)
                self._names.clear()
            states.append(b";")
        return b"".join(contents), b"".join(states)

    def text(self, value: str) -> bytes:
        if may_be_path(value):
            self._names.append(value)
        return super().text(value)

    def path(self, value: PurePath) -> bytes:
        self._names.append(str(value))
        return framed(b"p", super().text(str(value)))

    def others(self, value: Any) -> bytes:
        if isinstance(value, FunctionType):
            return function_bytes(value)
        if isinstance(value, type | BuiltinFunctionType):
            return framed(b"g", full_name(value).encode())
        try:
            reduce = copyreg.dispatch_table.get(type(value))
            taken = value.__reduce_ex__(4) if reduce is None else reduce(value)
        except Exception as error:  # whatever a user's __reduce__ raises
            raise NotPicklable(
                f"a {full_name(type(value))} among the inputs cannot be pickled: {error}; pass "
                "what it is made from, and make it inside fn"
            ) from error
        if isinstance(taken, str):
            return framed(b"g", f"{full_name(value)} {taken}".encode())
        make, arguments, state, items, pairs = (*taken, None, None, None)[:5]
        taken = (full_name(make), arguments, state, list(items or ()), dict(pairs or ()))
        return framed(b"o", self.bytes_of(taken))


def _file_state(name: str) -> bytes:
    """Size and modification time of a file of this name; empty if there is none."""
    try:
        state = os.stat(name)  # noqa: PTH116 - millions of inputs: a Path each is slow
    except (OSError, ValueError):
        return b""
    return b"%d:%d," % (state.st_size, state.st_mtime_ns)


def _described(summary: dict[str, Any]) -> str:
    return str(summary["text"] or f"a sequence of {summary['count']:,}")


def _text(inputs: Sequence[Any]) -> str | None:
    return repr(inputs) if isinstance(inputs, range) else None


def _changes(now: InputsKey, count: int, values: Digests, files: Digests) -> list[str]:
    """Names the inputs that were added or removed, else the first that changed."""
    added = len(now.inputs) - count
    if added:
        return [_moved(now, count, values)]
    other = np.flatnonzero(now.values != values)
    touched = np.flatnonzero((now.files != files) & (now.values == values))
    found = []
    if len(other):
        found.append(_named(now, other, "is now {value}, was another value", "another value"))
    if len(touched):
        what = "changed: the size or the modification time of its file"
        found.append(_named(now, touched, what, "another size or modification time of a file"))
    return found


def _named(now: InputsKey, blocks: npt.NDArray[np.intp], one: str, some: str) -> str:
    first = int(blocks[0]) * now.block
    if now.block > 1:
        last = min(first + now.block, len(now.inputs)) - 1
        text = f"one of inputs {first} to {last}, or more, has {some}"
        return text + (f", and so in {len(blocks) - 1:,} other ranges" if len(blocks) > 1 else "")
    value = short(now.inputs[first])
    text = f"input {first} {one.format(value=value)}"
    if "{value}" not in one:
        text = f"input {first} ({value}) {one}"
    return text + (f" (and {len(blocks) - 1:,} others)" if len(blocks) > 1 else "")


def _moved(now: InputsKey, count: int, values: Digests) -> str:
    """Where a run of inputs came or went; if more than that happened, where it begins."""
    mine, few = now.values, min(len(now.values), len(values))
    begin = _alike(mine[:few], values[:few])
    end = _alike(mine[::-1][: few - begin], values[::-1][: few - begin])
    change = abs(len(now.inputs) - count)
    if now.block == 1 and begin + end == few:
        run = (
            f"input {begin} was" if change == 1 else f"inputs {begin} to {begin + change - 1} were"
        )
        return f"{run} added" if len(now.inputs) > count else f"{run} removed, counted as then"
    where = f"from input {begin} on" if now.block == 1 else f"at input {begin * now.block} or later"
    return f"there are {len(now.inputs):,} inputs, there were {count:,}; they differ {where}"


def _alike(some: Digests, others: Digests) -> int:
    """How many are equal before the first that is not."""
    differ = np.flatnonzero(some != others)
    return int(differ[0]) if len(differ) else len(some)
