"""The structure of a sample: nested dicts, lists, tuples and namedtuples around leaves.

A tree remembers the containers and drops the values; leaves are numbered in depth-first
order, and leaf i is field i of the schema; the keys of a dict are sorted. `None` is structure
too: it holds no value.
"""

from __future__ import annotations

import keyword
from collections import OrderedDict, namedtuple
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from millstream.errors import CorruptData, SampleError

Container = Literal["leaf", "none", "dict", "list", "tuple", "namedtuple"]
Key = str | int

MAX_DEPTH = 64
MAX_LEAVES = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """One node: its container, the keys of its children (dict keys, field names, or positions)."""

    container: Container
    keys: tuple[Key, ...] = ()
    children: tuple[Tree, ...] = ()
    name: str = ""
    """The class name of a namedtuple, else empty."""

    def leaf_paths(self, prefix: tuple[Key, ...] = ()) -> Iterator[tuple[Key, ...]]:
        """The path of every leaf, in the order of the leaves."""
        if self.container == "leaf":
            yield prefix
        for key, child in zip(self.keys, self.children, strict=True):
            yield from child.leaf_paths((*prefix, key))


LEAF = Tree(container="leaf")
NONE = Tree(container="none")


def _is_namedtuple(value: object) -> bool:
    return isinstance(value, tuple) and hasattr(type(value), "_fields")


def tree_of(sample: object, depth: int = 0, *, lists: bool = True) -> Tree:
    """The tree of a sample; whatever is not a container is a leaf. lists: whether these are one.

    Raises SampleError for keys that are neither str nor int and for nesting past MAX_DEPTH.
    """
    if depth > MAX_DEPTH:
        raise SampleError(f"a sample is nested more than {MAX_DEPTH} levels deep")
    if sample is None:
        return NONE
    kind, keys, values = _open(sample)
    if kind == "leaf" or (kind == "list" and not lists):
        return LEAF
    children = tuple(tree_of(value, depth + 1, lists=lists) for value in values)
    name = type(sample).__name__ if kind == "namedtuple" else ""
    return Tree(container=kind, keys=keys, children=children, name=name)


def _open(sample: object) -> tuple[Container, tuple[Key, ...], Sequence[object]]:
    if type(sample) in (dict, OrderedDict):
        assert isinstance(sample, dict)
        for key in sample:
            if type(key) not in (str, int):
                raise SampleError(
                    f"a sample's dict has the key {key!r} of type {type(key).__name__}; "
                    "keys must be str or int"
                )
        # Sorted, so that the order in which one sample was built decides nothing.
        keys = tuple(sorted(sample, key=lambda key: (type(key) is int, key)))
        return "dict", keys, tuple([sample[key] for key in keys])
    if type(sample) is list:
        return "list", tuple(range(len(sample))), sample
    if type(sample) is tuple:
        return "tuple", tuple(range(len(sample))), sample
    if _is_namedtuple(sample):
        assert isinstance(sample, tuple)
        fields = tuple(type(sample)._fields)  # type: ignore[attr-defined]
        if not _can_be_namedtuple(type(sample).__name__, fields):
            raise SampleError(
                f"the namedtuple {type(sample).__name__} with the fields {fields} cannot be "
                "rebuilt from its names; use plain identifiers"
            )
        return "namedtuple", fields, sample
    return "leaf", (), ()


class Mismatch(Exception):
    """Internal: where and how a sample departs from a tree."""

    def __init__(self, path: tuple[Key, ...], got: str, expected: str) -> None:
        super().__init__(path, got, expected)
        self.path, self.got, self.expected = path, got, expected


Flatten = Callable[[Any, list[Any]], None]


def flattener(tree: Tree, path: tuple[Key, ...] = ()) -> Flatten:
    """A function that appends the leaves of one sample to a list; raises Mismatch."""
    if tree.container == "leaf":
        return lambda value, out: out.append(value)
    if tree.container == "none":
        return lambda value, out: _expect_none(value, path)
    children = [
        flattener(child, (*path, key)) for key, child in zip(tree.keys, tree.children, strict=True)
    ]
    if tree.container == "dict":
        return _dict_flattener(tree, path, children)
    return _sequence_flattener(tree, path, children)


def leaves_of(tree: Tree) -> Callable[[Any], list[Any]]:
    """A function that gives the leaves of one sample; raises Mismatch."""
    flatten = flattener(tree)

    def collect(sample: Any) -> list[Any]:
        leaves: list[Any] = []
        flatten(sample, leaves)
        return leaves

    return collect


def _expect_none(value: object, path: tuple[Key, ...]) -> None:
    if value is not None:
        raise Mismatch(path, type(value).__name__, "None")


def _dict_flattener(tree: Tree, path: tuple[Key, ...], children: list[Flatten]) -> Flatten:
    keys, known, expected = tree.keys, frozenset(tree.keys), _described(tree)
    flat = all(child.container == "leaf" for child in tree.children)

    def flatten(value: Any, out: list[Any]) -> None:
        if type(value) not in (dict, OrderedDict) or value.keys() != known:
            raise Mismatch(path, describe(value), expected)
        if flat:
            out.extend([value[key] for key in keys])
            return
        for key, child in zip(keys, children, strict=True):
            child(value[key], out)

    return flatten


def _sequence_flattener(tree: Tree, path: tuple[Key, ...], children: list[Flatten]) -> Flatten:
    count, name, expected = len(children), tree.name, _described(tree)
    exact = {"list": list, "tuple": tuple}.get(tree.container)

    def flatten(value: Any, out: list[Any]) -> None:
        same = (
            type(value) is exact
            if exact is not None
            else _is_namedtuple(value)
            and type(value).__name__ == name
            and type(value)._fields == tree.keys
        )
        if not same or len(value) != count:
            raise Mismatch(path, describe(value), expected)
        for item, child in zip(value, children, strict=True):
            child(item, out)

    return flatten


def describe(value: object) -> str:
    """A value's type as an error message says it: containers with their keys or length."""
    if value is None:
        return "None"
    if isinstance(value, dict):
        return f"{type(value).__name__} with the keys {list(value)}"
    if isinstance(value, list | tuple):
        return f"{type(value).__name__} of length {len(value)}"
    return type(value).__name__


def difference(expected: Tree, got: Tree, path: tuple[Key, ...] = ()) -> Mismatch | None:
    """Where two trees first differ; None if they are equal."""
    alike = (expected.container, expected.keys, expected.name) == (
        got.container,
        got.keys,
        got.name,
    )
    if not alike:
        return Mismatch(path, _described(got), _described(expected))
    for key, one, other in zip(expected.keys, expected.children, got.children, strict=True):
        if found := difference(one, other, (*path, key)):
            return found
    return None


def _described(tree: Tree) -> str:
    if tree.container in ("leaf", "none"):
        return "a value" if tree.container == "leaf" else "None"
    if tree.container == "dict":
        return f"dict with the keys {list(tree.keys)}"
    return f"{tree.name or tree.container} of length {len(tree.keys)}"


Rebuild = Callable[[Sequence[Any]], Any]


def rebuilder(tree: Tree) -> Rebuild:
    """A function from the list of all leaves, in order, to a sample."""
    return _rebuilder(tree, iter(range(MAX_LEAVES)))


def _rebuilder(tree: Tree, numbers: Iterator[int]) -> Rebuild:
    if tree.container == "leaf":
        index = next(numbers)
        return lambda leaves: leaves[index]
    if tree.container == "none":
        return lambda leaves: None
    parts = [_rebuilder(child, numbers) for child in tree.children]
    if tree.container == "dict":
        pairs = list(zip(tree.keys, parts, strict=True))
        return lambda leaves: {key: part(leaves) for key, part in pairs}
    if tree.container == "list":
        return lambda leaves: [part(leaves) for part in parts]
    if tree.container == "tuple":
        return lambda leaves: tuple([part(leaves) for part in parts])
    make = namedtuple_class(tree.name, tuple(str(key) for key in tree.keys))
    return lambda leaves: make(*[part(leaves) for part in parts])


@lru_cache(maxsize=1024)
def namedtuple_class(name: str, fields: tuple[str, ...]) -> type[Any]:
    """A namedtuple class made from its names alone; nothing is imported. Instances pickle."""
    made: type[Any] = namedtuple(name, fields)  # type: ignore[misc]

    def reduce(self: Any) -> tuple[Any, ...]:
        return _make_namedtuple, (name, fields, tuple(self))

    setattr(made, "__reduce__", reduce)  # noqa: B010 - a class made at run time
    return made


def _make_namedtuple(name: str, fields: tuple[str, ...], values: tuple[Any, ...]) -> Any:
    return namedtuple_class(name, fields)(*values)


# JSON ---------------------------------------------------------------------------------------


def tree_to_json(tree: Tree) -> object:
    """A leaf is `0`, None is `null`, a container an object with its name as the key."""
    if tree.container == "leaf":
        return 0
    if tree.container == "none":
        return None
    items = [tree_to_json(child) for child in tree.children]
    if tree.container == "dict":
        return {"dict": [[key, item] for key, item in zip(tree.keys, items, strict=True)]}
    if tree.container == "namedtuple":
        return {"namedtuple": tree.name, "fields": list(tree.keys), "items": items}
    return {tree.container: items}


def tree_from_json(node: object, depth: int = 0) -> Tree:
    """The inverse of tree_to_json; raises CorruptData for anything that it never makes."""
    if depth > MAX_DEPTH:
        raise CorruptData(f"the schema is nested more than {MAX_DEPTH} levels deep")
    match node:
        case None:
            return NONE
        case int() if type(node) is int and node == 0:
            return LEAF
        case {"dict": list(pairs), **rest} if not rest:
            keys, items = _pairs(pairs)
            return _container("dict", keys, items, depth)
        case {"list": list(items), **rest} if not rest:
            return _container("list", tuple(range(len(items))), items, depth)
        case {"tuple": list(items), **rest} if not rest:
            return _container("tuple", tuple(range(len(items))), items, depth)
        case {"namedtuple": str(name), "fields": list(fields), "items": list(items), **rest} if (
            not rest
        ):
            if not _can_be_namedtuple(name, fields):
                raise CorruptData(f"not the names of a namedtuple: {name!r} {fields!r}"[:300])
            return _container("namedtuple", tuple(fields), items, depth, name)
    raise CorruptData(f"not a sample's structure: {str(node)[:80]!r}")


def _can_be_namedtuple(name: str, fields: Sequence[object]) -> bool:
    """Whether the names are plain identifiers, so that a class can be made of them alone."""
    return (
        all(
            isinstance(word, str)
            and word.isidentifier()
            and not keyword.iskeyword(word)
            and len(word) <= 256
            for word in (name, *fields)
        )
        and not any(str(field).startswith("_") for field in fields)
        and len(set(fields)) == len(fields)
    )


def _pairs(pairs: list[object]) -> tuple[tuple[Key, ...], list[object]]:
    keys: list[Key] = []
    items: list[object] = []
    for pair in pairs:
        match pair:
            case [str() | int() as key, item] if type(key) is not bool:
                keys.append(key)
                items.append(item)
            case _:
                raise CorruptData(f"not a dict entry of a sample's structure: {str(pair)[:80]!r}")
    if len(set(keys)) != len(keys):
        raise CorruptData(f"a dict of the sample's structure repeats a key: {keys!r}")
    return tuple(keys), items


def _container(
    kind: Container, keys: tuple[Key, ...], items: list[object], depth: int, name: str = ""
) -> Tree:
    if len(keys) != len(items):
        raise CorruptData(
            f"a {kind} of the sample's structure has {len(items)} items, {len(keys)} keys"
        )
    children = tuple(tree_from_json(item, depth + 1) for item in items)
    return Tree(container=kind, keys=keys, children=children, name=name)
